"""The request file: what a machine tells Customer Success to get an offline licence, without raw values.

The machine ID in it counts; everything else is told for people and bounds nothing. Grade and evidence are therefore
computed again from the ID when the file is read.
"""

from dataclasses import dataclass

from keyseat_shared.boundary import guarded
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, MalformedError
from keyseat_shared.evidence import Evidence, Grade
from keyseat_shared.fields import is_plain
from keyseat_shared.machine_id import MachineID
from keyseat_shared.strictjson import loads_object, malformed, require_keys

REQUEST_TYPE = "keyseat-machine-request"
REQUEST_FORMAT = 1
MAX_REQUEST_SIZE = 32 * 1024

PLATFORMS = frozenset({"linux", "windows", "macos", "other"})
ENVIRONMENTS = frozenset({"physical", "vm", "container", "wsl", "ci"})
STATES = frozenset({"read", "unreadable", "rejected", "absent"})

_KEYS = frozenset(
    {
        *("format", "type", "machine_id", "grade", "grade_reasons", "evidence", "instance_source", "superuser"),
        *("platform", "environment", "versions", "components"),
    }
)
_MAX_ITEMS = 256
_MAX_TEXT = 200


@dataclass(frozen=True)
class ComponentNote:
    """One place the probe looked at: kind of evidence, where, what became of it, and why."""

    kind: str
    where: str
    state: str
    reason: str


@dataclass(frozen=True)
class MachineRequest:
    """A parsed request file; all but the machine ID is the machine's own word."""

    machine_id: MachineID
    platform: str
    environment: str
    versions: dict[str, str]
    components: tuple[ComponentNote, ...]

    @property
    def grade(self) -> Grade:
        """The grade, computed from the ID."""
        return self.machine_id.grade

    @property
    def grade_reasons(self) -> tuple[str, ...]:
        """The reasons for the grade, and what the request says about evidence out of reach."""
        unreadable = sorted({note.kind for note in self.components if note.state == "unreadable"})
        more = [f"On that machine and account these could not be read: {', '.join(unreadable)}."] if unreadable else []
        return (*self.machine_id.grade_reasons, *more)

    def to_dict(self) -> dict[str, object]:
        """Return the request as JSON-ready values."""
        return {
            "format": REQUEST_FORMAT,
            "type": REQUEST_TYPE,
            "machine_id": str(self.machine_id),
            "grade": str(self.grade),
            "grade_reasons": list(self.machine_id.grade_reasons),
            "evidence": [str(kind) for kind in self.machine_id.evidence],
            "instance_source": self.machine_id.instance_source,
            "superuser": self.machine_id.for_superuser,
            "platform": self.platform,
            "environment": self.environment,
            "versions": self.versions,
            "components": [
                {"kind": note.kind, "where": note.where, "state": note.state, "reason": note.reason}
                for note in self.components
            ],
        }


@guarded()
def parse_request(data: bytes) -> MachineRequest:
    """Read a request file strictly.

    Raises:
        KeyseatError: ``MALFORMED`` for anything but a request file, ``UNSUPPORTED_FORMAT`` for a later one.
    """
    try:
        return _parse(data)
    except MalformedError as error:
        # The code's own next step speaks of licence files.
        raise KeyseatError(
            error.code,
            f"this is not a usable request file: {error.message}",
            details=error.details,
            next_step="Make it again on the machine in question with `keyseat machine-id --request FILE`.",
        ) from None


def _parse(data: bytes) -> MachineRequest:
    if len(data) > MAX_REQUEST_SIZE:
        malformed("it is too large")
    fields = loads_object(data)
    if fields.get("type") != REQUEST_TYPE:
        malformed(f"its type is not {REQUEST_TYPE}")
    if fields.get("format") != REQUEST_FORMAT or type(fields["format"]) is not int:
        raise MalformedError(ReasonCode.UNSUPPORTED_FORMAT, "it is of another format version")
    require_keys(fields, "the request", _KEYS)
    machine_id = MachineID.parse_canonical(_text(fields["machine_id"], "machine_id"))
    if fields["evidence"] != [str(kind) for kind in Evidence if machine_id.tags_of(kind)]:
        malformed("its evidence is not that of its machine ID")
    if fields["instance_source"] != machine_id.instance_source or fields["superuser"] is not machine_id.for_superuser:
        malformed("it contradicts its machine ID")
    _word(fields["grade"], "grade", frozenset(Grade))
    for reason in _items(fields["grade_reasons"], "grade_reasons"):
        _text(reason, "grade_reasons")
    return MachineRequest(
        machine_id=machine_id,
        platform=_word(fields["platform"], "platform", PLATFORMS),
        environment=_word(fields["environment"], "environment", ENVIRONMENTS),
        versions=_versions(fields["versions"]),
        components=tuple(_component(item) for item in _items(fields["components"], "components")),
    )


def _text(value: object, what: str) -> str:
    # Printable only: these words reach terminals, where control characters could forge other words.
    if type(value) is not str or len(value) > _MAX_TEXT or not is_plain(value):
        malformed(f"{what} is not a short printable text")
    return value


def _word(value: object, what: str, allowed: frozenset[str]) -> str:
    word = _text(value, what)
    if word not in allowed:
        malformed(f"{what} is not one of {', '.join(sorted(allowed))}")
    return word


def _items(value: object, what: str) -> list[object]:
    if type(value) is not list or len(value) > _MAX_ITEMS:
        malformed(f"{what} is not a short list")
    return value


def _versions(value: object) -> dict[str, str]:
    if type(value) is not dict or len(value) > _MAX_ITEMS:
        malformed("versions is not an object")
    return {_text(name, "versions"): _text(version, "versions") for name, version in value.items()}


def _component(value: object) -> ComponentNote:
    if type(value) is not dict:
        malformed("a component is not an object")
    require_keys(value, "a component", frozenset({"kind", "where", "state", "reason"}))
    return ComponentNote(
        kind=_word(value["kind"], "kind", frozenset(Evidence)),
        where=_text(value["where"], "where"),
        state=_word(value["state"], "state", STATES),
        reason=_text(value["reason"], "reason"),
    )
