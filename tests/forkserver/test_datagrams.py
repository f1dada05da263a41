"""Messages between worker and zygote."""

import os

import pytest

from appliance.forkserver import datagrams


@pytest.mark.parametrize("size", [0, 59_000, 70_000, 5_000_000])
def test_message_of_any_size_arrives_with_its_descriptors(size: int) -> None:
    ours, theirs = datagrams.pair()
    reading, writing = os.pipe()
    message = {"op": "x", "text": "é" * size}

    with ours, theirs:
        datagrams.send(ours, message, [writing])
        datagrams.send(ours, {"op": "y"})
        received = datagrams.receive(theirs)

        assert received is not None
        assert received[0] == message
        (fd,) = received[1]
        assert not os.get_inheritable(fd)
        os.write(fd, b"!")
        assert os.read(reading, 1) == b"!"
        assert datagrams.receive(theirs) == ({"op": "y"}, [])
    for number in (fd, reading, writing):
        os.close(number)


def test_end_of_channel_is_none() -> None:
    ours, theirs = datagrams.pair()
    with theirs:
        ours.close()

        assert datagrams.receive(theirs) is None
