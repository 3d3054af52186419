"""``keyseat verify``: run every check on a licence file and say what each found."""

from keyseat_shared.codes import exit_code
from keyseat_shared.errors import KeyseatError
from keyseat_verifier.cli import _common, _terminal
from keyseat_verifier.cli._options import Command
from keyseat_verifier.verify.verified import Report
from keyseat_verifier.verify.verifier import Verifier

COMMAND = Command(
    "keyseat verify FILE [--trust FILE] [options]",
    "Check a licence file: signature, the vendor's rules, dates, this machine and user account.\n"
    "FILE may be - for standard input, or a pipe. Exit codes: 0 valid, 1 not valid, 2 wrong usage, 3 could not check.",
    {
        "--trust": _common.TRUST_OPTION,
        "--product": ("CODE", "the product wanted (default: any in the vendor's catalogue)"),
        "--machine-id": ("ID", "check for this machine ID instead of probing this machine"),
        "--instance": _common.INSTANCE_OPTION,
        "--at": ("TIME", "check as if it were this time: YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ"),
        "--test": ("", "FILE is a test licence: check the machine ID only"),
        "--json": _common.JSON_OPTION,
        "--allow-example-keys": _common.EXAMPLE_OPTION,
    },
    ["FILE"],
)


def run(argv: list[str]) -> int:
    """Run the command; returns the exit code (docs/spec/reason-codes.md)."""
    as_json = "--json" in argv
    try:
        options = COMMAND.parse(argv)
        if "--help" in options:
            _terminal.out(COMMAND.help())
            return 0
        report = _report(options)
    except KeyseatError as error:
        if as_json:
            _terminal.out_json(_refusal(error))
        if exit_code(error.code) == 1 and not as_json:
            _terminal.out(f"NOT VALID, {error}", _terminal.RED)
            _terminal.out(f"next: {error.next_step}")
        else:
            _terminal.complain(error)
        return exit_code(error.code)
    if as_json:
        _terminal.out_json(report.to_dict())
    else:
        _show(options["FILE"], report, test="--test" in options)
    return exit_code(report.code)


def _report(options: dict[str, str]) -> Report:
    at = _common.instant(options)
    trust = _common.load_trust(options)
    data = _common.read_named(options["FILE"])
    # A what-if neither reads nor writes the recorded time: it says nothing about the present.
    clock = None
    if at is None:
        from keyseat_verifier._internal.paths import scope_of
        from keyseat_verifier.client.clock import ClockGuard

        clock = ClockGuard(scope=scope_of(trust))
    verifier = Verifier(
        trust, options.get("--product"), clock=clock, allow_example_keys="--allow-example-keys" in options
    )
    explain = verifier.explain_test if "--test" in options else verifier.explain
    return explain(data, machine=_common.machine(options), now=at)


def _refusal(error: KeyseatError) -> dict[str, object]:
    """Return the JSON of a run that ended before the first check."""
    return {"valid": False, "code": str(error.code), "checks": [], "license": None, "next": error.next_step}


def _show(path: str, report: Report, *, test: bool) -> None:
    if report.valid:
        verdict = "the machine ID is correct (a test licence entitles to nothing)" if test else "VALID"
        _terminal.out(f"{path}: {verdict}", _terminal.GREEN)
    elif exit_code(report.code) == 1:
        _terminal.out(f"{path}: NOT VALID, {report.code}", _terminal.RED)
    else:
        _terminal.out(f"{path}: COULD NOT BE CHECKED, {report.code}", _terminal.YELLOW)
    width = max([len(check.name) for check in report.checks])
    for check in report.checks:
        symbol, style = _terminal.mark(check.ok)
        detail = check.detail.replace("\n", "\n" + " " * (width + len(symbol) + 5))
        _terminal.out(f"  {symbol} {check.name:<{width}}  {detail}", style)
    if not report.valid:
        _terminal.out(f"next: {report.next}")
