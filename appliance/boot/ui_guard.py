"""Proxy program in front of Temporal's UI that passes only what ``appliance.boot.ui_hosts`` allows.

``python -m appliance.boot.ui_guard IP:PORT UI_IP:UI_PORT [NAME,NAME...]``. Temporal's UI takes any host name and cannot be told
which are its own, so it listens on an address of the loopback network that no web page can guess, and this one where people
look for it. A connection carries one request: its head is read and answered for, the rest is passed on as it is. Threads,
not asyncio, since that would take half as much memory again.
"""

import socket
import socketserver
import sys
import threading
from collections.abc import Collection
from contextlib import closing, suppress
from typing import Any

import h11

from appliance.boot.ui_hosts import refusal

_HEAD_S = 30.0
"""How long a connection that asks for nothing is kept; browsers open some in advance."""
_IDLE_S = 300.0
_LEAVE_S = 1.0
_MOST_HEAD_BYTES = 65536
_MOST_CONNECTIONS = 256
_BLOCK_BYTES = 65536
_OF_THE_CONNECTION = (b"connection", b"keep-alive", b"proxy-connection", b"upgrade")


class UiGuard(socketserver.ThreadingTCPServer):
    """Listens where people look for the UI."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, at: tuple[str, int], ui: tuple[str, int], names: Collection[str]
    ) -> None:
        """Listen at ``at`` for requests to ``ui``; ``names``: of this host."""
        self.address_family = _family(at[0])
        self.ui = ui
        self.names = frozenset(names)
        self._room = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__(at, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection when there are not too many."""
        self._room.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()


class _Handler(socketserver.BaseRequestHandler):
    """One connection."""

    server: UiGuard

    def handle(self) -> None:
        """Answer a request, or have the UI answer it. Whoever goes away meanwhile is not missed."""
        client: socket.socket = self.request
        client.settimeout(_HEAD_S)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asked = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEAD_BYTES)
        with suppress(OSError):
            try:
                request = _asked(client, asked)
            except h11.RemoteProtocolError as err:
                _answer(client, asked, err.error_status_hint, f"It cannot: {err}.")
                return
            if request is not None:
                self._serve(client, asked, request)

    def _serve(
        self, client: socket.socket, asked: h11.Connection, request: h11.Request
    ) -> None:
        headers = {
            name.decode("ascii"): value.decode("latin-1")
            for name, value in request.headers
        }
        method = request.method.decode("ascii")
        why_not = refusal(method, headers, self.server.names)
        if not request.target.startswith(b"/"):
            why_not = "It is no proxy."
        has_body = method != "HEAD"
        if why_not:
            _answer(client, asked, 403, why_not, has_body=has_body)
            return
        try:
            ui = socket.create_connection(self.server.ui, timeout=_IDLE_S)
        except OSError:
            why_not = "It is not up. Try again in a moment."
            _answer(client, asked, 503, why_not, has_body=has_body)
            return
        with closing(ui):
            ui.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            rest, _ = asked.trailing_data
            ui.sendall(_head(request) + rest)
            client.settimeout(_IDLE_S)
            upload = threading.Thread(target=_copy, args=(client, ui), daemon=True)
            upload.start()
            _copy(ui, client)
            for end in (client, ui):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)  # Ends the upload, too.
            upload.join()


def _asked(client: socket.socket, asked: h11.Connection) -> h11.Request | None:
    """Read the head of a request; None when the client asks for nothing."""
    while (event := asked.next_event()) is h11.NEED_DATA:
        asked.receive_data(client.recv(_BLOCK_BYTES))
    return event if isinstance(event, h11.Request) else None


def _head(request: h11.Request) -> bytes:
    """Write the head anew, for a connection that ends with the answer; h11 has looked at every part."""
    parts = [request.method, request.target, b"HTTP/" + request.http_version]
    headers = [
        name + b": " + value
        for name, value in request.headers
        if name not in _OF_THE_CONNECTION
    ]
    lines = [b" ".join(parts), *headers, b"connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _answer(
    client: socket.socket,
    asked: h11.Connection,
    code: int,
    why: str,
    *,
    has_body: bool = True,
) -> None:
    """Say why it is not the UI that answers."""
    text = f"The Temporal UI of this appliance does not answer here. {why}\n".encode()
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(text))),
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
    ]
    answer = h11.Response(status_code=code, headers=headers)
    client.sendall((asked.send(answer) or b"") + (text if has_body else b""))
    client.shutdown(socket.SHUT_WR)
    # What is unread when a socket is closed would take the answer back.
    client.settimeout(_LEAVE_S)
    while client.recv(_BLOCK_BYTES):
        pass


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes until the end."""
    with suppress(OSError):
        while block := source.recv(_BLOCK_BYTES):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)


def _family(ip: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def _address(text: str) -> tuple[str, int]:
    ip, _, port = text.rpartition(":")
    return ip, int(port)


def main(at: str, ui: str, names: str = "") -> None:
    """Serve until a signal ends it."""
    own = [name for name in names.lower().split(",") if name]
    with UiGuard(_address(at), _address(ui), own) as guard:
        while True:
            guard.handle_request()


if __name__ == "__main__":
    main(*sys.argv[1:])
