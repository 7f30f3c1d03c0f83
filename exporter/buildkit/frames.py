"""HTTP/2 frames (RFC 9113): numbers, and how one is written."""

from __future__ import annotations

import struct

from hpack import Encoder, NeverIndexedHeaderTuple

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE = 0, 1, 3, 4, 5
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 6, 7, 8, 9
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITY = 0x4, 0x8, 0x20
ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 2, 4, 5
CANCEL = 8

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DEFAULT_WINDOW = 65535
MAX_WINDOW = 2**31 - 1
DEFAULT_FRAME_SIZE = 16384
LARGEST_FRAME_SIZE = 2**24 - 1

HEAD = struct.Struct(">BHBBL")
"""Length (in two parts), kind, flags and the stream's number, whose highest bit means nothing."""
SETTING = struct.Struct(">HL")
LONG = struct.Struct(">L")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Write one frame."""
    size = len(payload)
    return HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """Write a frame of settings."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*item) for item in values.items()))


def window_update(stream: int, size: int) -> bytes:
    """Write a frame that lets the peer send ``size`` bytes more; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, LONG.pack(size))


def reset(stream: int) -> bytes:
    """Write a frame that cancels a stream."""
    return frame(RST_STREAM, 0, stream, LONG.pack(CANCEL))


def request_headers(path: str, fields: dict[str, str]) -> bytes:
    """Encode the headers of a POST so that the block has no state: one serves every request."""
    pairs = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost"}
    return Encoder().encode(
        [NeverIndexedHeaderTuple(name, value) for name, value in (pairs | fields).items()]
    )


def unpad(payload: bytes) -> bytes | None:
    """Take the padding off; ``None`` when it is larger than the frame."""
    if not payload or payload[0] >= len(payload):
        return None
    return payload[1 : len(payload) - payload[0]]
