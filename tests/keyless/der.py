"""Just enough DER to write what no library here writes: timestamp tokens and lists of certificate timestamps."""

from __future__ import annotations

SEQUENCE, SET, INTEGER, OCTETS, TIME = 0x30, 0x31, 0x02, 0x04, 0x18


def tlv(tag: int, *content: bytes) -> bytes:
    """One value: its tag, its length, its content."""
    body = b"".join(content)
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + body


def integer(value: int) -> bytes:
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, signed=True))


def oid(dotted: str) -> bytes:
    """An object identifier."""
    first, second, *rest = map(int, dotted.split("."))
    body = bytes([40 * first + second])
    for part in rest:
        digits = [part & 0x7F]
        while part := part >> 7:
            digits.append(part & 0x7F | 0x80)
        body += bytes(reversed(digits))
    return tlv(0x06, body)
