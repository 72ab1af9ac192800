"""What the processes of the pool say to each other: JSON behind its length, never pickle."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

MAX_FRAME = 2_000_000
"""Bytes of one message's JSON."""

_HEADER = struct.Struct(">I")


class TooLongError(ValueError):
    """A message of more than MAX_FRAME bytes."""


def frame(message: Any) -> bytes:
    """The message as JSON behind its length.

    Raises:
        TypeError: the message isn't JSON.
        ValueError: it holds NaN, an infinity or itself.
        TooLongError: it has more than MAX_FRAME bytes.
    """
    body = json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME:
        raise TooLongError(f"{len(body):,} bytes of JSON, at most {MAX_FRAME:,} are passed")
    return _HEADER.pack(len(body)) + body


class Inbox:
    """Puts messages together from bytes as they come."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that `data` completes.

        Raises:
            ValueError, RecursionError: the other side sent something else than frames.
        """
        self._bytes += data
        while len(self._bytes) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._bytes)
            if length > MAX_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            end = _HEADER.size + length
            if len(self._bytes) < end:
                return
            body = bytes(self._bytes[_HEADER.size : end])
            del self._bytes[:end]
            yield json.loads(body)
