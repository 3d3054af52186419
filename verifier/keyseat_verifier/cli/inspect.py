"""``keyseat inspect``: what a file says, every line marked as not verified. It answers questions, never trust."""

from keyseat_shared.codes import exit_code
from keyseat_shared.envelope import LEASE_TYPE, LICENSE_TYPE, TEST_LICENSE_TYPE, TRUST_TYPE, Envelope
from keyseat_shared.errors import KeyseatError
from keyseat_shared.strictjson import loads_object
from keyseat_verifier.cli import _common, _terminal
from keyseat_verifier.cli._options import Command

COMMAND = Command(
    "keyseat inspect FILE [--json]",
    "Show what a licence, test licence, lease or trust file says, WITHOUT verifying it.\n"
    "Anybody can write such a file; only `keyseat verify` tells whether it counts. FILE may be -.",
    {"--json": _common.JSON_OPTION},
    ["FILE"],
)
WARNING = "NOT VERIFIED: anybody could have written this. Use `keyseat verify` to check it."

_KINDS = {
    LICENSE_TYPE: "licence",
    TEST_LICENSE_TYPE: "test licence (entitles to nothing)",
    LEASE_TYPE: "lease (an online session, not a licence)",
    TRUST_TYPE: "trust bundle",
}


def run(argv: list[str]) -> int:
    """Run the command; returns the exit code (docs/spec/reason-codes.md)."""
    try:
        options = COMMAND.parse(argv)
        if "--help" in options:
            _terminal.out(COMMAND.help())
            return 0
        unverified_envelope = Envelope.from_bytes(_common.read_named(options["FILE"]))
        unverified = loads_object(unverified_envelope.payload)
    except KeyseatError as error:
        if "--json" in argv:
            _terminal.out_json({"verified": False, **error.to_dict()})
        _terminal.complain(error)
        return exit_code(error.code)
    signatures = [signature.keyid for signature in unverified_envelope.signatures]
    if "--json" in options:
        _terminal.out_json(
            {
                "verified": False,
                "warning": WARNING,
                "payload_type": unverified_envelope.payload_type,
                "signatures": signatures,
                "unverified_payload": unverified,
            }
        )
        return 0
    kind = _KINDS.get(unverified_envelope.payload_type, "unknown")
    lines = [("kind", kind), ("type", unverified_envelope.payload_type)]
    lines += [("signature", f"by a key that calls itself {keyid}") for keyid in signatures]
    lines += _flat("", unverified)
    _show(lines)
    return 0


def _show(lines: list[tuple[str, str]]) -> None:
    _terminal.out(WARNING, _terminal.YELLOW)
    width = max([len(name) for name, _ in lines])
    for name, value in lines:
        # A line break in a value could fake a line without the mark.
        shown = f"{name:<{width}}  {value}".replace("\n", "\\n")
        _terminal.out(f"NOT VERIFIED | {shown}")
    _terminal.out(WARNING, _terminal.YELLOW)


def _flat(prefix: str, value: object) -> list[tuple[str, str]]:
    """Return nested JSON as lines of dotted names and values."""
    if isinstance(value, dict) and value:
        return [line for key, entry in value.items() for line in _flat(f"{prefix}.{key}" if prefix else key, entry)]
    if isinstance(value, list) and value:
        return [line for index, entry in enumerate(value) for line in _flat(f"{prefix}[{index}]", entry)]
    if value is None or value in ([], {}):
        return [(prefix, "(none)")]
    return [(prefix, str(value))]
