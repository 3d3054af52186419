"""The doctor: is this machine the one of a machine ID, request or licence file, and if not, what differs?"""

from pathlib import Path

from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import MAX_SIZE
from keyseat_shared.errors import KeyseatError, MalformedError
from keyseat_shared.files import read_file
from keyseat_shared.machine_id import MachineID
from keyseat_shared.matching import MatchResult, advice, describe, match
from keyseat_shared.strictjson import loads_object, malformed
from keyseat_verifier.machine.findings import ABSENT, UNREADABLE
from keyseat_verifier.machine.probe import MachineProbe
from keyseat_verifier.verify.given import as_machine

# What the shells and editors of Windows put in front of a text: `keyseat machine-id > id.txt` in PowerShell is UTF-16.
_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


_SHORTEST = 24
"""Characters from which on a text without dot and slash is taken for an ID whose first letters are mistyped."""


def enrolled_id(what: str) -> MachineID:
    """Return the machine ID that ``what`` is (an ID) or names (a licence, test licence, lease or request file).

    The file's signature is not checked: the doctor only reads which machine it names.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for a mistyped ID; ``UNREADABLE`` or ``MALFORMED`` for a file.
    """
    if not _exists(what):
        # Not a path, so a mistyped ID: say where.
        if what.strip().lower().startswith("mid") or (len(what) >= _SHORTEST and not set(what) & set("./\\")):
            return as_machine(what)
        raise KeyseatError(
            ReasonCode.UNREADABLE,
            "neither a machine ID nor a file that can be read",
            next_step="Give a machine ID (mid1...), or the path of a licence or request file.",
        )
    return _named_in(read_file(what, pipes=True))


def _exists(what: str) -> bool:
    try:
        return Path(what).exists()
    except (OSError, ValueError):
        return False


def _named_in(data: bytes) -> MachineID:
    if len(data) > MAX_SIZE:
        malformed("the file is too large")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    typed = data.decode(encoding, "replace")
    if typed.lstrip("\ufeff \t\r\n").lower().startswith("mid1"):
        return MachineID.parse(typed)
    fields = loads_object(data)
    if "payload" in fields:
        import base64  # late: only for signed files
        import binascii

        try:
            fields = loads_object(base64.b64decode(str(fields["payload"]), validate=True))
        except (binascii.Error, ValueError):
            raise MalformedError(ReasonCode.MALFORMED, "the payload is not base64") from None
    named = fields.get("machine_id")
    if type(named) is not str:
        malformed("the file names no machine")
    return MachineID.parse_canonical(named)


def compare(enrolled: MachineID, probe: MachineProbe) -> MatchResult:
    """Compare an enrolled ID with what was probed."""
    return match(enrolled, probe.machine_id)


def diagnosis(result: MatchResult, probe: MachineProbe) -> str:
    """Return the comparison for people: components, the rule that decided, why what is missing is, what to do."""
    lines = [describe(result)]
    missing = {component.kind for component in result.components if component.state == "unreadable"}
    notes = [
        note for note in probe.components if note.kind in missing and note.state in (UNREADABLE, ABSENT, "rejected")
    ]
    if notes:
        lines.append("  not seen now:")
        lines += [f"    {note.where}: {note.reason}" for note in notes]
    lines.append(f"  next: {advice(result)}")
    return "\n".join(lines)
