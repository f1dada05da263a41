"""Integers beyond 64 bits on the Task SDK's wire, which msgpack itself does not have.

A wider one crosses as an extension type with its decimal digits. Whoever writes finds out by msgspec's error, so
that nothing costs more as long as there is none. Both ends are ours: Airflow 3.3.2 fails there.

Source: Airflow 3.3: ``airflow/sdk/execution_time/comms.py`` (``_new_encoder``, ``_FrameMixin``).
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.msgpack import Ext

_WIDE = 73
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


class Encoder:
    """msgspec's encoder, which can write wide integers, too."""

    def __init__(self, enc_hook: Callable[[Any], Any] | None = None) -> None:
        """``enc_hook``: as msgspec's."""
        self._encoder = msgspec.msgpack.Encoder(enc_hook=enc_hook)

    def encode(self, value: Any) -> bytes:
        """Write a value."""
        try:
            return self._encoder.encode(value)
        except OverflowError:
            return self._encoder.encode(_marked(value))

    def encode_into(self, value: Any, buffer: bytearray, offset: int = 0) -> None:
        """Write a value into ``buffer``, which is cut off or grows behind it."""
        try:
            self._encoder.encode_into(value, buffer, offset)
        except OverflowError:
            self._encoder.encode_into(_marked(value), buffer, offset)


def read(code: int, data: memoryview) -> Any:
    """Read an extension type: msgspec's ``ext_hook``."""
    return int(bytes(data)) if code == _WIDE else Ext(code, bytes(data))


def _marked(value: Any) -> Any:
    """Return the value with an extension type for each wide integer."""
    match value:
        case bool():
            return value
        case int():
            return value if _LEAST <= value <= _MOST else _digits(value)
        case dict():
            return {key: _marked(item) for key, item in value.items()}
        case list() | tuple():
            return [_marked(item) for item in value]
        case msgspec.Struct():
            return type(value)(*map(_marked, msgspec.structs.astuple(value)))
        case _:
            return value


def _digits(number: int) -> Ext:
    return Ext(_WIDE, str(number).encode())
