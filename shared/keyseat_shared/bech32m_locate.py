"""Where a mistyped bech32m word probably went wrong: what to look at before copying it again.

Up to two wrong symbols can be located from the checksum (BIP 173, "Checksum design"), and one missing, surplus or
swapped symbol found by trying. Nothing is ever corrected: a guess at a machine ID could bind a licence to somebody
else's machine.
"""

from keyseat_shared.bech32m import CHECKSUM_LENGTH, CONSTANT, MAX_LENGTH, VALUES, expand, polymod

_PAIR = 2


def locate(prefix: str, word: str) -> "tuple[str, tuple[int, ...]]":
    """Say what is wrong with a word that `decode` refuses, and the 1-based characters to look at, where known."""
    head = len(prefix) + 1
    if not word.startswith(prefix + "1"):
        wrong = [place for place, char in enumerate(prefix + "1", 1) if word[place - 1 : place] != char]
        return f"it does not begin with {prefix}1", tuple(wrong) if len(word) >= head else ()
    if len(word) > MAX_LENGTH:
        return f"it is too long: {len(word)} characters", ()
    foreign = [place for place, char in enumerate(word[head:], head + 1) if char not in VALUES]
    if foreign:
        return "it has characters that never occur in it", tuple(foreign)
    values = [VALUES[char] for char in word[head:]]
    if len(values) < CHECKSUM_LENGTH:
        return "it is too short", ()
    expanded = expand(prefix)
    residue = polymod([*expanded, *values]) ^ CONSTANT
    if not residue:
        return "its padding is not zero", ()
    reason, indexes = _located(expanded, values, residue)
    return reason, tuple([head + 1 + index for index in indexes])


def _located(expanded: "list[int]", values: "list[int]", residue: int) -> "tuple[str, tuple[int, ...]]":
    wrong = _wrong_symbols(len(values), residue)
    if len(wrong) == _PAIR and _is_swap(expanded, values, wrong):
        return "two characters are swapped", wrong
    if wrong:
        return "it has a wrong character" if len(wrong) == 1 else "it has wrong characters", wrong
    surplus = _surplus_symbol(expanded, values)
    if surplus is not None:
        return "it has a character too many", (surplus,)
    gap = _missing_symbol(expanded, values)
    if gap is not None:
        return "it lacks a character", (gap,)
    return "its checksum does not fit: characters are wrong, missing or in another order", ()


def _wrong_symbols(length: int, residue: int) -> "tuple[int, ...]":
    """Return the indexes of the one or two wrong symbols that explain ``residue``, or nothing.

    The code is linear, so an error's residue depends on its place and value only; with a distance of five
    no two explanations of up to two errors exist. 63 symbols x 31 values are small enough to look up.
    """
    single: dict[int, int] = {}
    for index in range(length):
        for value in (1, 2, 4, 8, 16):
            single[polymod([value] + [0] * (length - 1 - index), 0)] = index
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
    return polymod([*expanded, *swapped]) == CONSTANT


def _surplus_symbol(expanded: "list[int]", values: "list[int]") -> "int | None":
    for index in range(len(values)):
        if polymod([*expanded, *values[:index], *values[index + 1 :]]) == CONSTANT:
            return index
    return None


def _missing_symbol(expanded: "list[int]", values: "list[int]") -> "int | None":
    if len(values) + len(expanded) >= MAX_LENGTH:
        return None
    for index in range(len(values) + 1):
        tail = [0] * (len(values) - index)
        rest = polymod([*expanded, *values[:index], 0, *values[index:]]) ^ CONSTANT
        # Any value at this place that cancels the residue is the symbol that was left out.
        if any(polymod([value, *tail], 0) == rest for value in range(32)):
            return index
    return None
