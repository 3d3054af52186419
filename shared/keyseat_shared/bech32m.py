"""Bech32m (BIP 350): bytes as one lower-case word with a checksum that finds typing errors and where they are.

A word is ``prefix + "1" + symbols``, 90 characters at most. The checksum is a BCH code: up to four wrong
symbols are always noticed (BIP 173, "Checksum design"); ``bech32m_locate`` says where they probably are.

This module is on the fast path of ``keyseat machine-id``: it imports nothing.
"""

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
"""The 32 symbols of BIP 173; ``1``, ``b``, ``i`` and ``o`` are left out because they are easily misread."""

MAX_LENGTH = 90
"""Longest word for which four wrong symbols are always noticed (BIP 173)."""

CHECKSUM_LENGTH = 6

CONSTANT = 0x2BC830A3
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
# What five bits that leave the register put back into it: the sum of their generators.
_STEP = [0]
for _generator in _GENERATOR:
    _STEP += [_before ^ _generator for _before in _STEP]
_BASE_32 = bytes.maketrans(bytes(range(32)), b"0123456789abcdefghijklmnopqrstuv")  # as `int` reads it
_NO_VALUE = 0xFF
VALUES = {symbol: value for value, symbol in enumerate(ALPHABET)}
_VALUES = bytes([VALUES.get(chr(code), _NO_VALUE) for code in range(128)]).ljust(256, b"\xff")  # by ASCII code


class Bech32mError(ValueError):
    """A word that is not bech32m: ``reason`` says why; ``bech32m_locate.locate`` says where."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def polymod(values: "list[int]", state: int = 1) -> int:
    """Return the checksum register after these symbols (BIP 350)."""
    for value in values:
        state = (state & 0x1FFFFFF) << 5 ^ value ^ _STEP[state >> 25]
    return state


def expand(prefix: str) -> "list[int]":
    """Return the symbols by which the checksum covers the prefix (BIP 173)."""
    return [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]


def encode(prefix: str, data: bytes) -> str:
    """Return ``data`` as a bech32m word; the last symbol before the checksum is padded with zero bits.

    Raises:
        ValueError: if the word would be longer than ``MAX_LENGTH``.
    """
    symbols = -(-len(data) * 8 // 5)
    padded = int.from_bytes(data, "big") << (symbols * 5 - len(data) * 8)
    values = [padded >> (5 * index) & 31 for index in range(symbols - 1, -1, -1)]
    check = polymod([*expand(prefix), *values, 0, 0, 0, 0, 0, 0]) ^ CONSTANT
    values += [check >> (5 * index) & 31 for index in range(CHECKSUM_LENGTH - 1, -1, -1)]
    word = prefix + "1" + "".join([ALPHABET[value] for value in values])
    if len(word) > MAX_LENGTH:
        msg = f"{len(data)} bytes are too long for bech32m"
        raise ValueError(msg)
    return word


def decode(prefix: str, word: str) -> bytes:
    """Return the bytes of a lower-case bech32m ``word`` with this ``prefix``.

    Raises:
        Bech32mError: for every other word.
    """
    head = len(prefix) + 1
    if not word.startswith(prefix + "1"):
        raise Bech32mError(f"it does not begin with {prefix}1")
    if len(word) > MAX_LENGTH:
        raise Bech32mError(f"it is too long: {len(word)} characters")
    values = word[head:].encode("ascii", "replace").translate(_VALUES)
    if _NO_VALUE in values:
        raise Bech32mError("it has characters that never occur in it")
    if len(values) < CHECKSUM_LENGTH:
        raise Bech32mError("it is too short")
    if polymod([*expand(prefix), *values]) != CONSTANT:
        raise Bech32mError("its checksum does not fit")
    return _to_bytes(values[:-CHECKSUM_LENGTH])


def _to_bytes(values: bytes) -> bytes:
    bits = len(values) * 5
    number = int(b"0" + values.translate(_BASE_32), 32)
    size, rest = divmod(bits, 8)
    # BIP 173: at most four bits of padding, all zero; otherwise two words would mean the same bytes.
    if rest > 4 or number & ((1 << rest) - 1):  # noqa: PLR2004 - the four bits of the comment
        raise Bech32mError("its padding is not zero")
    return (number >> rest).to_bytes(size, "big")
