"""Decides how a screenshot is stored: without loss, in fewer bytes than a browser takes. Called by `__main__`. Pure."""

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB, _UNFILTERED = 2, b"\0"


def to_png(rgba: bytes, width: int) -> bytes:
    """The PNG file of these pixels, four bytes each; opacity is left out.

    No line is filtered: text on one ground has many equal lines, which compress better as they are (PNG, 12.7).
    """
    rgb = bytearray(len(rgba) // 4 * 3)
    for channel in range(3):
        rgb[channel::3] = rgba[channel::4]
    line = width * 3
    lines = [_UNFILTERED + rgb[start : start + line] for start in range(0, len(rgb), line)]
    header = struct.pack(">IIBBBBB", width, len(lines), 8, _RGB, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(lines), 9)), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
