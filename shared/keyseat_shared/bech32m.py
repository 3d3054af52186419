"""Bech32m (BIP 350): bytes as one lower-case word with a checksum that finds typing errors and where they are.

A word is ``prefix + "1" + symbols``, 90 characters at most. The checksum is a BCH code: up to four wrong
symbols are always noticed, and up to two of them can be located (BIP 173, "Checksum design"). Nothing is ever
corrected silently: a guess at a machine ID could bind a licence to somebody else's machine.

This module is on the fast path of ``keyseat machine-id``: it imports nothing.
"""

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
"""The 32 symbols of BIP 173; ``1``, ``b``, ``i`` and ``o`` are left out because they are easily misread."""

MAX_LENGTH = 90
"""Longest word for which four wrong symbols are always noticed (BIP 173)."""

CHECKSUM_LENGTH = 6

_CONSTANT = 0x2BC830A3
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
# What five bits that leave the register put back into it: the sum of their generators.
_STEP = [0]
for _generator in _GENERATOR:
    _STEP += [_before ^ _generator for _before in _STEP]
_DIGITS = "0123456789abcdefghijklmnopqrstuv"  # of base 32 as `int` reads it
_VALUES = {symbol: value for value, symbol in enumerate(ALPHABET)}


class Bech32mError(ValueError):
    """A word that is not bech32m; ``positions`` are the 1-based characters that look wrong, where known."""

    def __init__(self, reason: str, positions: tuple[int, ...] = ()) -> None:
        """Keep the parts."""
        super().__init__(reason)
        self.reason = reason
        self.positions = positions


def _polymod(values: "list[int]", state: int = 1) -> int:
    for value in values:
        state = (state & 0x1FFFFFF) << 5 ^ value ^ _STEP[state >> 25]
    return state


def _expand(prefix: str) -> "list[int]":
    return [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]


def encode(prefix: str, data: bytes) -> str:
    """Return ``data`` as a bech32m word; the last symbol before the checksum is padded with zero bits.

    Raises:
        ValueError: if the word would be longer than ``MAX_LENGTH``.
    """
    symbols = -(-len(data) * 8 // 5)
    padded = int.from_bytes(data, "big") << (symbols * 5 - len(data) * 8)
    values = [padded >> (5 * index) & 31 for index in range(symbols - 1, -1, -1)]
    check = _polymod([*_expand(prefix), *values, 0, 0, 0, 0, 0, 0]) ^ _CONSTANT
    values += [check >> (5 * index) & 31 for index in range(CHECKSUM_LENGTH - 1, -1, -1)]
    word = prefix + "1" + "".join([ALPHABET[value] for value in values])
    if len(word) > MAX_LENGTH:
        msg = f"{len(data)} bytes are too long for bech32m"
        raise ValueError(msg)
    return word


def decode(prefix: str, word: str) -> bytes:
    """Return the bytes of a lower-case bech32m ``word`` with this ``prefix``.

    Raises:
        Bech32mError: for every other word, with the characters that look wrong where they can be located.
    """
    head = len(prefix) + 1
    if not word.startswith(prefix + "1"):
        wrong = [index + 1 for index, char in enumerate(prefix + "1") if word[index : index + 1] != char]
        raise Bech32mError(f"it does not begin with {prefix}1", tuple(wrong) if len(word) >= head else ())
    if len(word) > MAX_LENGTH:
        raise Bech32mError(f"it is too long: {len(word)} characters")
    foreign = [index + 1 for index in range(head, len(word)) if word[index] not in _VALUES]
    if foreign:
        raise Bech32mError("it has characters that never occur in it", tuple(foreign))
    values = [_VALUES[char] for char in word[head:]]
    if len(values) < CHECKSUM_LENGTH:
        raise Bech32mError("it is too short")
    expanded = _expand(prefix)
    residue = _polymod([*expanded, *values]) ^ _CONSTANT
    if residue:
        raise _located(expanded, values, residue, head)
    return _to_bytes(values[:-CHECKSUM_LENGTH])


def _to_bytes(values: "list[int]") -> bytes:
    bits = len(values) * 5
    number = int("0" + "".join([_DIGITS[value] for value in values]), 32)
    size, rest = divmod(bits, 8)
    # BIP 173: at most four bits of padding, all zero; otherwise two words would mean the same bytes.
    if rest > 4 or number & ((1 << rest) - 1):  # noqa: PLR2004 - the four bits of the comment
        raise Bech32mError("its padding is not zero")
    return (number >> rest).to_bytes(size, "big")


def _located(expanded: "list[int]", values: "list[int]", residue: int, head: int) -> Bech32mError:
    """Say where a word with a wrong checksum probably went wrong."""
    positions = _wrong_symbols(len(values), residue)
    if positions:
        places = tuple(head + 1 + index for index in positions)
        if len(positions) == 2 and _is_swap(expanded, values, positions):  # noqa: PLR2004 - a pair
            return Bech32mError("two characters are swapped", places)
        return Bech32mError("it has a wrong character" if len(places) == 1 else "it has wrong characters", places)
    surplus = _surplus_symbol(expanded, values)
    if surplus is not None:
        return Bech32mError("it has a character too many", (head + 1 + surplus,))
    gap = _missing_symbol(expanded, values)
    if gap is not None:
        return Bech32mError("it lacks a character", (head + 1 + gap,))
    return Bech32mError("its checksum does not fit: characters are wrong, missing or in another order")


def _wrong_symbols(length: int, residue: int) -> "tuple[int, ...]":
    """Return the indexes of the one or two wrong symbols that explain ``residue``, or nothing.

    The code is linear, so an error's residue depends on its place and value only; with a distance of five
    no two explanations of up to two errors exist. 63 symbols x 31 values are small enough to look up.
    """
    single: dict[int, int] = {}
    for index in range(length):
        for value in (1, 2, 4, 8, 16):
            single[_polymod([value] + [0] * (length - 1 - index), 0)] = index
    basis = list(single)
    by_syndrome: dict[int, int] = {}
    for index in range(length):
        span = [0]
        for syndrome in basis[5 * index : 5 * index + 5]:
            span += [syndrome ^ other for other in span]
        for syndrome in span[1:]:
            by_syndrome[syndrome] = index
    if residue in by_syndrome:
        return (by_syndrome[residue],)
    for syndrome, index in by_syndrome.items():
        other = by_syndrome.get(residue ^ syndrome)
        if other is not None:
            return tuple(sorted((index, other)))
    return ()


def _is_swap(expanded: "list[int]", values: "list[int]", positions: "tuple[int, ...]") -> bool:
    first, second = positions
    swapped = list(values)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    return _polymod([*expanded, *swapped]) == _CONSTANT


def _surplus_symbol(expanded: "list[int]", values: "list[int]") -> "int | None":
    for index in range(len(values)):
        if _polymod([*expanded, *values[:index], *values[index + 1 :]]) == _CONSTANT:
            return index
    return None


def _missing_symbol(expanded: "list[int]", values: "list[int]") -> "int | None":
    if len(values) + len(expanded) >= MAX_LENGTH:
        return None
    for index in range(len(values) + 1):
        tail = [0] * (len(values) - index)
        rest = _polymod([*expanded, *values[:index], 0, *values[index:]]) ^ _CONSTANT
        # Any value at this place that cancels the residue is the symbol that was left out.
        if any(_polymod([value, *tail], 0) == rest for value in range(32)):
            return index
    return None
