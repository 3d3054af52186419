"""The machine ID: tags of evidence about a machine and its user, and the one string they are written as.

Byte-exact in docs/spec/machine-id.md. The module is on the fast path of ``keyseat machine-id``: it imports
nothing but a hash; the words of ``keyseat_shared.evidence`` and the errors are loaded when they are needed.
"""

from keyseat_shared import bech32m
from keyseat_shared.boundary import guarded

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from keyseat_shared.errors import KeyseatError
    from keyseat_shared.evidence import Evidence, Grade, InstanceSource

__all__ = ["MAX_DISKS", "MAX_NICS", "Evidence", "Grade", "InstanceSource", "MachineID", "tag"]

PREFIX = "mid"
VERSION = 1
TAG_SIZE = 3
MAX_NICS = 4
MAX_DISKS = 2

# In the order of the tags; bit n of the presence mask stands for the n-th kind. A test keeps it equal to `Evidence`.
KINDS = ("firmware-uuid", "firmware-serial", "nic", "disk", "os", "instance", "user-id", "user-name")
_NIC, _DISK, _INSTANCE, _USER_ID = 2, 3, 5, 6
_LIMITS = (1, 1, MAX_NICS, MAX_DISKS, 1, 1, 1, 1)
_INSTANCE_SOURCES = ("none", "instance-file", "host-id")
_NONE: "frozenset[str]" = frozenset()
_MAX_TYPED = 400  # characters a person may paste: the word, its spaces and dashes

_IGNORED = dict.fromkeys(map(ord, " \t\r\n\v\f-_\u00a0\u00ad\u200b\ufeff\u2010\u2011\u2012\u2013\u2014\u2015\u2212"))

# Tags of the account ids 0, S-1-5-18 and FFFFEEEE-DDDD-CCCC-BBBB-AAAA00000000; a test computes them again.
_SUPERUSER_TAGS = ((bytes.fromhex("6ca1df"),), (bytes.fromhex("fe03f3"),), (bytes.fromhex("e57cfa"),))


def __getattr__(name: str) -> object:
    # PEP 562: `enum` costs a quarter of a bare interpreter start, and the fast path compares plain strings.
    if name in {"Evidence", "Grade", "InstanceSource"}:
        from keyseat_shared import evidence

        return getattr(evidence, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def tag(kind: "Evidence | str", value: str) -> bytes:
    """Return the 24-bit tag of a canonical value: ``HMAC-SHA256("keyseat/machine-id/v1/" + kind, value)[:3]``.

    24 bits leave a value ambiguous (many serials share a tag), while two tags together are practically unique.
    """
    return hmac_sha256(f"keyseat/machine-id/v1/{kind}".encode(), value.encode())[:TAG_SIZE]


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return HMAC-SHA256 (RFC 2104) for a key of at most SHA-256's block of 64 bytes."""
    from hashlib import sha256  # late: checks against an ID that is given need no hash

    padded = key.ljust(64, b"\0")
    inner = sha256(bytes([byte ^ 0x36 for byte in padded]) + message).digest()
    return sha256(bytes([byte ^ 0x5C for byte in padded]) + inner).digest()


class MachineID:
    """What identifies a machine and a user account: for each kind of evidence its sorted, distinct tags.

    A value may lack evidence (a probe that found none); such a value cannot be written as a string.
    Immutable and hashable; equality is that of the canonical strings.
    """

    __slots__ = ("_seen", "_tags", "_text", "instance_source", "uncertain")
    _seen: "tuple[tuple[bytes, ...], ...]"  # as `_tags`, before sets were cut, and with what stands beside the ID
    _tags: "tuple[tuple[bytes, ...], ...]"
    _text: str  # the canonical string, once it is known: batches and the verifier ask for it again and again
    instance_source: str
    uncertain: "frozenset[str]"
    """Kinds that a probe cannot see whole: a value that an ID holds may be there all the same. Empty in a read ID."""

    def __init__(
        self,
        tags: "Mapping[str, Iterable[bytes]]",
        *,
        instance_source: str = "none",
        beside: "Mapping[str, Iterable[bytes]] | None" = None,
        uncertain: "Iterable[str]" = (),
    ) -> None:
        """Take tags by kind; they are sorted and made distinct, and sets are cut to their limits.

        Args:
            tags: 3-byte tags by kind (``Evidence`` or its value). Of more than four network adapters or two disks
                the lowest tags are kept.
            instance_source: ``none``, ``instance-file`` or ``host-id``; ``none`` exactly where no instance tag is.
            beside: tags that a machine shows and that are no part of its ID, for comparing (`seen_of`).
            uncertain: see the attribute.

        Raises:
            ValueError: for an unknown kind, a tag of another size, or an instance source that does not fit.
        """
        if set(tags) - set(KINDS):
            msg = "unknown kind of evidence"
            raise ValueError(msg)
        seen = tuple([tuple(sorted(set(tags.get(kind, ())))) for kind in KINDS])
        rows = tuple([row[:limit] for row, limit in zip(seen, _LIMITS, strict=True)])
        if beside:
            seen = tuple([tuple(sorted({*row, *beside.get(kind, ())})) for kind, row in zip(KINDS, seen, strict=True)])
        if any(type(one) is not bytes or len(one) != TAG_SIZE for row in seen for one in row):
            msg = "a tag is three bytes"
            raise ValueError(msg)
        if instance_source not in _INSTANCE_SOURCES or (instance_source == "none") is bool(rows[_INSTANCE]):
            msg = "the instance source does not fit the instance tag"
            raise ValueError(msg)
        self._keep(rows, seen, str(instance_source), "", frozenset(uncertain))

    def _keep(
        self,
        rows: "tuple[tuple[bytes, ...], ...]",
        seen: "tuple[tuple[bytes, ...], ...]",
        instance_source: str,
        text: str,
        uncertain: "frozenset[str]" = _NONE,
    ) -> None:
        object.__setattr__(self, "uncertain", uncertain)
        object.__setattr__(self, "_tags", rows)
        object.__setattr__(self, "_seen", seen)
        object.__setattr__(self, "instance_source", instance_source)
        object.__setattr__(self, "_text", text)

    @classmethod
    def from_values(
        cls,
        values: "Mapping[str, Iterable[str]]",
        *,
        instance_source: str = "none",
        beside: "Mapping[str, Iterable[str]] | None" = None,
        uncertain: "Iterable[str]" = (),
    ) -> "MachineID":
        """Make an ID from canonical values by kind (docs/spec/machine-id.md says what canonical is for each)."""
        return cls(
            {kind: [tag(kind, value) for value in found] for kind, found in values.items()},
            instance_source=instance_source,
            beside={kind: [tag(kind, value) for value in found] for kind, found in beside.items()} if beside else None,
            uncertain=uncertain,
        )

    def __setattr__(self, name: str, _value: object) -> None:
        msg = f"a machine ID does not change: {name}"
        raise AttributeError(msg)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MachineID):
            return NotImplemented
        return self._tags == other._tags and self.instance_source == other.instance_source

    def __hash__(self) -> int:
        return hash((self._tags, self.instance_source))

    def __repr__(self) -> str:
        return f"MachineID({str(self) if self.is_printable else 'no evidence'})"

    def __reduce__(self) -> "tuple[object, ...]":
        tags, seen = (dict(zip(KINDS, rows, strict=True)) for rows in (self._tags, self._seen))
        return (_restore, (tags, self.instance_source, seen, self.uncertain))

    def tags_of(self, kind: "Evidence | str") -> "tuple[bytes, ...]":
        """Return the sorted tags of one kind; empty where there is no such evidence."""
        return self._tags[KINDS.index(kind)]

    def seen_of(self, kind: "Evidence | str") -> "tuple[bytes, ...]":
        """Return the sorted tags of one kind, with those that the string has no room for.

        Of a probe these are all that the machine shows; of an ID that was read, those in its string.
        """
        return self._seen[KINDS.index(kind)]

    @property
    def mask(self) -> int:
        """The presence mask: bit n is set where the n-th kind has evidence."""
        return sum([1 << index for index, row in enumerate(self._tags) if row])

    @property
    def evidence(self) -> "tuple[Evidence, ...]":
        """The kinds present, in the order of the format."""
        from keyseat_shared.evidence import Evidence

        return tuple([Evidence(kind) for kind in self.kinds])

    @property
    def kinds(self) -> "tuple[str, ...]":
        """The kinds present as plain strings, in the order of the format (`evidence` without the price of enums)."""
        return tuple([kind for kind, row in zip(KINDS, self._tags, strict=True) if row])

    @property
    def has_hardware(self) -> bool:
        """Whether anything but the user account identifies the machine."""
        return any(self._tags[:_USER_ID])

    @property
    def is_printable(self) -> bool:
        """Whether the ID has what its string needs: the user account id and hardware or instance evidence."""
        return self.has_hardware and bool(self._tags[_USER_ID])

    @property
    def for_superuser(self) -> bool:
        """Whether the account is root or LocalSystem: programs of other users have another ID."""
        return self._tags[_USER_ID] in _SUPERUSER_TAGS

    @property
    def grade(self) -> "Grade":
        """How firmly the evidence binds a licence to one machine (docs/spec/machine-id.md, "Grades")."""
        from keyseat_shared.evidence import Grade
        from keyseat_shared.grades import level

        return Grade(level(self))

    @property
    def grade_reasons(self) -> "tuple[str, ...]":
        """The reasons for the grade, in sentences."""
        from keyseat_shared.grades import grade

        return grade(self)[1]

    @property
    def short(self) -> str:
        """The first ten symbols after ``mid1``: for file names."""
        return str(self)[len(PREFIX) + 1 : len(PREFIX) + 11]

    @property
    def hardware_key(self) -> str:
        """One string for the machine without its user: equal where all hardware and instance tags are equal."""
        return ".".join(["+".join([one.hex() for one in row]) for row in self._tags[:_USER_ID]])

    @property
    def search_keys(self) -> "tuple[str, ...]":
        """``kind:hex`` for each hardware or instance tag: two IDs that may be the same machine share some."""
        return tuple(
            [f"{kind}:{one.hex()}" for kind, row in zip(KINDS[:_USER_ID], self._tags, strict=False) for one in row]
        )

    def to_bytes(self) -> bytes:
        """Return header and tags, without the check of `str`."""
        source = _INSTANCE_SOURCES.index(self.instance_source)
        counts = len(self._tags[_NIC]) << 4 | len(self._tags[_DISK])
        return bytes([VERSION << 4 | source, self.mask, counts]) + b"".join([one for row in self._tags for one in row])

    def __str__(self) -> str:
        """Return the canonical string, ``mid1...``, at most 73 characters.

        Raises:
            KeyseatError: ``NO_MACHINE_EVIDENCE`` where the account id or all hardware and instance evidence is missing.
        """
        if not self._text:
            if not self.is_printable:
                raise _no_evidence()
            object.__setattr__(self, "_text", bech32m.encode(PREFIX, self.to_bytes()))
        return self._text

    @classmethod
    @guarded()
    def parse(cls, text: str) -> "MachineID":
        """Read an ID as people type it: case, spaces, dashes and line breaks do not matter.

        Raises:
            KeyseatError: ``MALFORMED``, with the characters that look wrong in ``details["positions"]`` (1-based,
                counted without spaces and dashes), or ``UNSUPPORTED_FORMAT`` for a later version.
        """
        if len(text) > _MAX_TYPED:
            raise _malformed("it is far too long")
        word = text if text.isalnum() else text.translate(_IGNORED)  # nothing to ignore in most
        # ASCII first: `lower` turns some foreign letters into ours (the Kelvin sign into k).
        if not word.isascii():
            raise _malformed(
                "it has characters that never occur in it",
                tuple([place for place, char in enumerate(word, 1) if not char.isascii()]),
                word,
            )
        word = word.lower()
        try:
            data = bech32m.decode(PREFIX, word)
        except bech32m.Bech32mError:
            from keyseat_shared.bech32m_locate import locate  # late: only for mistyped IDs

            raise _malformed(*locate(PREFIX, word), word) from None
        return cls._from_bytes(data, word)

    @classmethod
    @guarded()
    def parse_canonical(cls, text: str) -> "MachineID":
        """Read the canonical string only, as it stands in signed payloads.

        Raises:
            KeyseatError: ``MALFORMED`` for any other spelling, ``UNSUPPORTED_FORMAT`` for a later version.
        """
        try:
            data = bech32m.decode(PREFIX, text)
        except bech32m.Bech32mError as error:
            raise _malformed(error.reason) from None
        return cls._from_bytes(data, text)

    @classmethod
    def _from_bytes(cls, data: bytes, text: str) -> "MachineID":
        if len(data) < TAG_SIZE:
            raise _malformed("it is too short")
        if data[0] >> 4 != VERSION:
            raise _unsupported(data[0] >> 4)
        source, mask, nics, disks = data[0] & 15, data[1], data[2] >> 4, data[2] & 15
        counts = [mask >> index & 1 for index in range(len(KINDS))]
        if bool(nics) != bool(counts[_NIC]) or bool(disks) != bool(counts[_DISK]):
            raise _malformed("its header contradicts itself")
        counts[_NIC], counts[_DISK] = nics, disks
        if nics > MAX_NICS or disks > MAX_DISKS or len(data) != TAG_SIZE * (1 + sum(counts)):
            raise _malformed("its length does not fit its header")
        if source >= len(_INSTANCE_SOURCES) or bool(source) != bool(counts[_INSTANCE]):
            raise _malformed("its header contradicts itself")
        rows: list[tuple[bytes, ...]] = []
        place = TAG_SIZE
        for count in counts:
            end = place + TAG_SIZE * count
            if count > 1:
                row = tuple([data[at : at + TAG_SIZE] for at in range(place, end, TAG_SIZE)])
                # Sorted and distinct, or one machine could be written as several strings.
                if row != tuple(sorted(set(row))):
                    raise _malformed("its tags are not in order")
                rows.append(row)
            else:
                rows.append((data[place:end],) if count else ())
            place = end
        # Past `__init__`, which would check again what the format guarantees; and the bytes have one spelling only.
        found = cls.__new__(cls)
        kept = tuple(rows)
        found._keep(kept, kept, _INSTANCE_SOURCES[source], text)  # noqa: SLF001 - our own
        if not found.is_printable:
            raise _malformed("it names no machine or no user account")
        return found


def _restore(
    tags: "dict[str, tuple[bytes, ...]]",
    instance_source: str,
    seen: "dict[str, tuple[bytes, ...]]",
    uncertain: "frozenset[str]",
) -> MachineID:
    return MachineID(tags, instance_source=instance_source, beside=seen, uncertain=uncertain)


def _no_evidence() -> "KeyseatError":
    from keyseat_shared.codes import ReasonCode
    from keyseat_shared.errors import KeyseatError

    return KeyseatError(ReasonCode.NO_MACHINE_EVIDENCE, "nothing here identifies this machine and its user account")


def _malformed(reason: str, positions: "tuple[int, ...]" = (), word: str = "") -> "KeyseatError":
    from keyseat_shared.codes import ReasonCode
    from keyseat_shared.errors import MalformedError

    message = f"the machine ID is mistyped: {reason}"
    if positions:
        named = [f"character {place}{_quoted(word, place)}" for place in positions[:6]]
        message += f"; look at {' and '.join(named)}"
        if word:
            message += f" in {_marked(word, positions)} (spaces and dashes not counted)"
    return MalformedError(
        ReasonCode.MALFORMED,
        message,
        details={"positions": list(positions), "reason": reason},
        next_step="Copy the machine ID again, whole, from the output of `keyseat machine-id`.",
    )


def _quoted(word: str, place: int) -> str:
    return f" {word[place - 1]!a}" if 0 < place <= len(word) else ""


def _marked(word: str, positions: "tuple[int, ...]") -> str:
    shown = [
        f"[{char if char.isascii() and char.isprintable() else '?'}]" if place in positions else char
        for place, char in enumerate(word[: bech32m.MAX_LENGTH + 10], 1)
    ]
    return ascii("".join(shown))[1:-1]


def _unsupported(version: int) -> "KeyseatError":
    from keyseat_shared.codes import ReasonCode
    from keyseat_shared.errors import MalformedError

    return MalformedError(
        ReasonCode.UNSUPPORTED_FORMAT,
        f"the machine ID is of version {version}; this software knows version {VERSION}",
        details={"version": version},
        next_step="Update this software, then try again.",
    )
