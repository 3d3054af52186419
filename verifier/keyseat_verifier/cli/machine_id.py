"""``keyseat machine-id``: print this machine's ID, explain it, keep it as a request file, compare it.

Without options nothing but the probe is imported. The ID stands alone on stdout; grade, reasons
and explanations go to stderr.
"""

import sys

from keyseat_verifier.cli._streams import tell

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    import argparse
    from typing import NoReturn

    from keyseat_shared.errors import KeyseatError
    from keyseat_verifier.machine import MachineProbe

_DEFAULT_PLACE = ""


def run(argv: "list[str]") -> int:
    """Run the command with its arguments; returns the exit code (docs/spec/reason-codes.md)."""
    if argv:
        return _with_options(argv)
    from keyseat_verifier.machine.probe import probe_machine

    probe = probe_machine()
    if not probe.machine_id.is_printable:
        return _refused(probe, as_json=False)
    _print_id(probe)
    return 0


def _print_id(probe: "MachineProbe") -> None:
    from keyseat_shared.grades import grade

    sys.stdout.write(f"{probe.machine_id}\n")
    sys.stdout.flush()
    word, reasons = grade(probe.machine_id)
    tell(f"grade: {word}. {' '.join(reasons)}\n")


def _with_options(argv: "list[str]") -> int:
    from keyseat_shared.errors import KeyseatError
    from keyseat_verifier.machine.probe import probe_machine

    as_json = "--json" in argv
    try:
        options = _parser().parse_args(argv)
        probe = probe_machine(instance=_usual_instance() if options.instance == _DEFAULT_PLACE else options.instance)
        if options.explain and not as_json:
            from keyseat_verifier.machine.explain import explain

            tell(explain(probe) + "\n")
        if options.compare is not None:
            return _compare(probe, options.compare, as_json=as_json)
        if not probe.machine_id.is_printable:
            return _refused(probe, as_json=as_json)
        if options.request is not None:
            _write_request(probe, options.request)
        if options.qr:
            _print_qr(probe)
    except KeyseatError as error:
        return _failed(error, as_json=as_json)
    if options.instance and not _is_found_again(options.instance):
        tell("KEYSEAT_INSTANCE_FILE must name this file in later runs and for the licensed program\n")
    if as_json:
        _print_json(_as_dict(probe, explain=options.explain))
    else:
        _print_id(probe)
        if options.request is not None:
            tell(f"request written: {options.request}; send it to Customer Success\n")
    return 0


def _usual_instance() -> str:
    import os

    from keyseat_verifier.machine.places import keyseat_home

    return os.path.join(keyseat_home(os.environ), "instance-id")


def _is_found_again(instance: str) -> bool:
    import os

    return instance in {os.environ.get("KEYSEAT_INSTANCE_FILE"), _usual_instance()}


def _parser() -> "argparse.ArgumentParser":
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> "NoReturn":
            from keyseat_shared.codes import ReasonCode
            from keyseat_shared.errors import KeyseatError

            raise KeyseatError(ReasonCode.INVALID_INPUT, message, next_step=self.format_usage().rstrip())

    parser = Parser(
        prog="keyseat machine-id",
        allow_abbrev=False,  # `--json` is looked for before anything is parsed
        description="Print the ID of this machine and user account: what an offline licence is bound to.",
        epilog="Exit codes: 0 done (or the same machine), 1 another machine or user, 2 wrong usage, 3 could not check,"
        " 4 nothing identifies this machine.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--explain", action="store_true", help="say component by component what the ID rests on")
    parser.add_argument(
        "--instance",
        nargs="?",
        const=_DEFAULT_PLACE,
        metavar="FILE",
        help="keep a random instance id in FILE (made if there is none; without FILE, instance-id in KEYSEAT_HOME):"
        " for containers and virtual machines without hardware of their own",
    )
    parser.add_argument("--request", metavar="FILE", help="write a request file for Customer Success")
    parser.add_argument(
        "--compare", metavar="ID|FILE", help="compare with a machine ID, or with that of a licence or request file"
    )
    parser.add_argument(
        "--qr", action="store_true", help="show the ID as QR code on stderr (needs keyseat-verifier[qr])"
    )
    return parser


def _as_dict(probe: "MachineProbe", *, explain: bool) -> "dict[str, object]":
    machine_id = probe.machine_id
    printable = machine_id.is_printable
    shown: dict[str, object] = {
        "machine_id": str(machine_id) if printable else None,
        "code": "OK" if printable else "NO_MACHINE_EVIDENCE",
        "grade": str(machine_id.grade) if printable else None,
        "grade_reasons": list(machine_id.grade_reasons),
        "evidence": list(machine_id.kinds),
        "instance_source": machine_id.instance_source,
        "superuser": machine_id.for_superuser,
        "platform": probe.platform,
        "environment": probe.environment,
    }
    if explain:
        shown["components"] = [note.to_dict() for note in probe.components]
    return shown


def _print_json(value: "dict[str, object]") -> None:
    import json

    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def _refused(probe: "MachineProbe", *, as_json: bool) -> int:
    from keyseat_verifier.machine.no_evidence import no_evidence

    error = no_evidence(probe.machine_id, probe.components, probe.environment_signals)
    if as_json:
        _print_json(
            _as_dict(probe, explain=True)
            | {"message": error.message, "next": error.next_step, "options": error.details["options"]}
        )
    return _failed(error, as_json=as_json, printed=as_json)


def _failed(error: "KeyseatError", *, as_json: bool, printed: bool = False) -> int:
    from keyseat_shared.codes import exit_code
    from keyseat_verifier.cli import _terminal

    if as_json and not printed:
        _print_json(error.to_dict())
    _terminal.complain(error)
    return exit_code(error.code)


def _write_request(probe: "MachineProbe", path: str) -> None:
    import json
    from pathlib import Path

    from keyseat_shared.codes import ReasonCode
    from keyseat_shared.errors import KeyseatError
    from keyseat_shared.files import read_file
    from keyseat_verifier.machine.explain import to_request

    content = json.dumps(to_request(probe), ensure_ascii=False, indent=2) + "\n"
    place = Path(path)
    try:
        # A name mistyped, and a licence that nobody can issue again would be gone.
        if place.is_file() and not _is_request_or_empty(read_file(path)):
            raise KeyseatError(
                ReasonCode.ALREADY_EXISTS,
                "the request file would replace a file that is no request",
                next_step="Choose another name, for example machine-request.json.",
            )
        place.write_text(content, encoding="utf-8")
    except OSError as error:
        raise KeyseatError(
            ReasonCode.UNREADABLE,
            f"the request file cannot be written: {(error.strerror or 'unknown reason').lower()}",
            next_step="Choose a folder you may write to.",
        ) from None


def _is_request_or_empty(data: bytes) -> bool:
    from keyseat_shared.request import REQUEST_TYPE

    return not data or REQUEST_TYPE.encode() in data


def _compare(probe: "MachineProbe", what: str, *, as_json: bool) -> int:
    from keyseat_verifier.machine.doctor import compare, diagnosis, enrolled_id

    result = compare(enrolled_id(what), probe)
    text = diagnosis(result, probe)
    if as_json:
        from keyseat_shared.matching import advice

        _print_json(
            {
                "verdict": str(result.verdict),
                "rule": result.rule,
                "components": {str(one.kind): str(one.state) for one in result.components},
                "next": advice(result),
            }
        )
        tell(text + "\n")
    else:
        sys.stdout.write(text + "\n")
    return {"same": 0, "indeterminate": 3}.get(result.verdict, 1)


def _print_qr(probe: "MachineProbe") -> None:
    try:
        import segno  # optional extra
    except ImportError:
        from keyseat_shared.codes import ReasonCode
        from keyseat_shared.errors import KeyseatError

        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            "the QR code needs segno, which is not installed",
            next_step="pip install 'keyseat-verifier[qr]'",
        ) from None
    # Upper case makes the code smaller (alphanumeric mode, ISO/IEC 18004); an ID means the same in either case.
    segno.make(str(probe.machine_id).upper(), micro=False).terminal(out=sys.stderr, compact=True)
