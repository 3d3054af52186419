"""UUID version 7 identifiers (RFC 9562, section 5.7): sortable by the time they were made."""

import os
from datetime import datetime

_VERSION_AND_VARIANT = 0x7 << 76 | 0b10 << 62
_RANDOM = 0xFFF << 64 | (1 << 62) - 1


def uuid7_number(now: datetime) -> int:
    """Return a new UUIDv7 as a number of 128 bits: 48 bits of milliseconds since 1970, 74 random bits."""
    milliseconds = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    random = int.from_bytes(os.urandom(10), "big")
    return milliseconds << 80 | random & _RANDOM | _VERSION_AND_VARIANT


def uuid7(now: datetime) -> str:
    """Return a new UUIDv7 in lower-case text."""
    digits = f"{uuid7_number(now):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
