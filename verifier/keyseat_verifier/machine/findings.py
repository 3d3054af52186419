"""What a probe found: canonical values, kept only until they are tags, and a note on everything it looked at."""

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from collections.abc import Callable

READ = "read"
UNREADABLE = "unreadable"
REJECTED = "rejected"
ABSENT = "absent"


class Note:
    """One place looked at: the kind of evidence, where, what became of it and why. Never holds the value."""

    __slots__ = ("kind", "reason", "state", "where")

    def __init__(self, kind: str, where: str, state: str, reason: str = "") -> None:
        """Keep the parts; ``state`` is ``read``, ``unreadable``, ``rejected`` or ``absent``."""
        self.kind = kind
        self.where = where
        self.state = state
        self.reason = reason

    def __repr__(self) -> str:
        return f"Note({self.kind}, {self.where}, {self.state}, {self.reason})"

    def to_dict(self) -> "dict[str, str]":
        """Return the note as JSON-ready values."""
        return {"kind": self.kind, "where": self.where, "state": self.state, "reason": self.reason}


class Findings:
    """Collects canonical values by kind and the notes about them."""

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}
        # Values that no new ID is made of, but that one issued before may hold: compared, and never written.
        self.beside: dict[str, list[str]] = {}
        # Kinds of which an ID may hold what cannot be seen any more: another value there proves nothing.
        self.uncertain: set[str] = set()
        self.notes: list[Note] = []

    def has(self, kind: str) -> bool:
        """Return whether a kind has a value."""
        return kind in self.values

    def take(self, kind: str, where: str, raw: str, canonicalise: "Callable[[str], tuple[str, str]]") -> bool:
        """Take a raw value if it is evidence; note it either way. Returns whether it was taken."""
        value, reason = canonicalise(raw)
        if reason:
            self.notes.append(Note(kind, where, REJECTED, reason))
            if value:
                self.beside.setdefault(kind, []).append(value)
            return False
        self.values.setdefault(kind, []).append(value)
        self.notes.append(Note(kind, where, READ))
        return True

    def attempt(
        self,
        kind: str,
        where: str,
        canonicalise: "Callable[[str], tuple[str, str]]",
        read: "Callable[..., str]",
        *arguments: object,
    ) -> bool:
        """Take the value that ``read(*arguments)`` gives; note an absent or unreadable one. Returns whether taken."""
        try:
            raw = read(*arguments)
        except OSError as error:
            self.failed(kind, where, error)
            return False
        return self.take(kind, where, raw, canonicalise)

    def keep_other_serials(
        self, taken: int, serials: "list[str]", canonicalise: "Callable[[str], tuple[str, str]]"
    ) -> None:
        """Keep the other serial numbers of the firmware (product, board, chassis) beside the one that was taken.

        A firmware update fills in one of them, or blanks it, and then another one is the first. Of an ID made while the
        filled one was blank, the serial is found here; of one made before another was blanked it is gone for good.
        """
        others = [canonicalise(raw)[0] for raw in serials[taken + 1 :]]
        self.beside.setdefault("firmware-serial", []).extend([value for value in others if value])
        if taken:
            self.uncertain.add("firmware-serial")

    def failed(self, kind: str, where: str, error: OSError) -> None:
        """Note a value that could not be read."""
        if isinstance(error, PermissionError):
            self.note(kind, where, UNREADABLE, "needs administrator rights")
        elif isinstance(error, (FileNotFoundError, NotADirectoryError)):
            self.note(kind, where, ABSENT, "not there")
        else:
            self.note(kind, where, UNREADABLE, "could not be read")

    def note(self, kind: str, where: str, state: str, reason: str) -> None:
        """Note a place without taking a value."""
        self.notes.append(Note(kind, where, state, reason))
