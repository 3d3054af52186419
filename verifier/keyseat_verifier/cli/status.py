"""``keyseat status``: what entitles this account to run, until when, and why other files do not."""

from datetime import datetime

from keyseat_shared.codes import ReasonCode, exit_code
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant, now_utc
from keyseat_verifier.cli import _common, _terminal
from keyseat_verifier.cli._options import Command
from keyseat_verifier.client.license_client import LicenseClient
from keyseat_verifier.client.refusals import offline_refusal
from keyseat_verifier.client.status import Status
from keyseat_verifier.verify.verifier import Verifier

COMMAND = Command(
    "keyseat status [--product CODE] [--trust FILE] [options]",
    "Show what entitles this account to run on this machine: every licence file with its verdict, until when\n"
    "the machine is covered, sessions in use, and what to do next. Exit code 0 if something entitles, else as\n"
    "`keyseat verify`.",
    {
        "--product": ("CODE", "one product only (default: all in the vendor's catalogue)"),
        "--trust": _common.TRUST_OPTION,
        "--machine-id": ("ID", "look for this machine ID instead of probing this machine"),
        "--instance": _common.INSTANCE_OPTION,
        "--at": ("TIME", "look as if it were this time: YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ"),
        "--json": _common.JSON_OPTION,
        "--allow-example-keys": _common.EXAMPLE_OPTION,
    },
)


_NO_FAULT = (ReasonCode.WRONG_PRODUCT, ReasonCode.NOT_YET_VALID)


def run(argv: list[str]) -> int:
    """Run the command; returns the exit code (docs/spec/reason-codes.md)."""
    as_json = "--json" in argv
    try:
        options = COMMAND.parse(argv)
        if "--help" in options:
            _terminal.out(COMMAND.help())
            return 0
        statuses, now = _statuses(options)
    except KeyseatError as error:
        if as_json:
            _terminal.out_json({"entitled": False, **error.to_dict(), "products": []})
        _terminal.complain(error)
        return exit_code(error.code)
    entitled = [status for status in statuses if status.entitlement is not None]
    if as_json:
        _terminal.out_json({"entitled": bool(entitled), "products": [status.to_dict() for status in statuses]})
    else:
        _show(statuses, now)
    return 0 if entitled else min([exit_code(status.code) for status in statuses])


def _statuses(options: dict[str, str]) -> tuple[list[Status], datetime]:
    at = _common.instant(options)
    now = at or now_utc()
    trust = _common.load_trust(options)
    products = _common.products(options, trust)
    machine = _common.machine(options)
    Verifier(trust, allow_example_keys=True).known_machine(machine)  # a mistyped one is wrong usage, also without files
    clients = [
        LicenseClient(
            product,
            trust,
            machine=machine,
            allow_example_keys="--allow-example-keys" in options,
            remember_time=at is None,  # a what-if neither reads nor writes the recorded time
        )
        for product in products
    ]
    statuses = [client.status(now) for client in clients]
    return statuses if "--product" in options else _each_with_its_own(statuses), now


def _each_with_its_own(statuses: list[Status]) -> list[Status]:
    """Leave out of each product's files what belongs to another product; without any file left there is no licence."""
    placed = {found.path for status in statuses for found in status.files if found.code is not ReasonCode.WRONG_PRODUCT}
    return [_with_its_own(status, placed) for status in statuses]


def _with_its_own(status: Status, placed: set[str]) -> Status:
    wrong = ReasonCode.WRONG_PRODUCT
    files = tuple([found for found in status.files if found.code is not wrong or found.path not in placed])
    refusal = status.refusal
    if refusal is not None and refusal.code is wrong and not files:
        named = status.online is not None and status.online.server is not None
        activate = f"Activate online (`keyseat activate --product {status.product}`)" if named else "Activate online"
        refusal = offline_refusal(status.product, status.folder, [], activate=activate)
    return status._replace(files=files, refusal=refusal)


def _show(statuses: list[Status], now: datetime) -> None:
    first = statuses[0]
    _terminal.out(f"licence folder  {first.folder}")
    _terminal.out(f"machine ID      {first.machine_id or 'none: run `keyseat machine-id` to see why'}")
    _terminal.out(f"trust bundle    version {first.trust_version}")
    online = next((status.online for status in statuses if status.online is not None), None)
    if online is not None:
        address = online.server or "none is named"
        _terminal.out(f"server          {online.problem or f'{address}, credentials: {online.credentials}'}")
    for status in statuses:
        _terminal.out()
        _show_product(status, now)


def _show_product(status: Status, now: datetime) -> None:
    found = status.entitlement
    if found is not None:
        days = (found.expires_at - now).days
        left = f", {days} day{'s' if days != 1 else ''} left" if found.source == "offline" else ""
        _terminal.out(
            f"{status.product}: entitled ({found.source}) until {format_instant(found.expires_at)}{left}",
            _terminal.GREEN,
        )
        if found.source == "offline":
            _terminal.out(f"  sessions        {len(status.sessions_in_use)} of {found.sessions} in use")
        if status.covered_until is not None:
            _terminal.out(f"  covered until   {format_instant(status.covered_until)}")
    elif status.refusal is not None:
        _terminal.out(f"{status.product}: not entitled, {status.code}", _terminal.RED)
    for gap in status.gaps:
        _terminal.out(
            f"  not covered     {format_instant(gap.starts_at)} to {format_instant(gap.ends_at)}", _terminal.YELLOW
        )
    for lease in status.online.leases if status.online is not None else ():
        held = f"held by process {lease.held_by or 'unknown'}" if lease.held_by is not None else "held by no program"
        kind = "activated" if lease.is_activated else held
        _terminal.out(f"  online session  {lease.session_id} until {format_instant(lease.expires_at)}, {kind}")
    for verdict in status.files:
        # A file for another product is no fault: machines with several products have several files.
        symbol, style = _terminal.mark(None if verdict.code in _NO_FAULT else verdict.code is ReasonCode.OK)
        text = verdict.message.splitlines()[0]
        _terminal.out(f"  {symbol} {verdict.path}: {verdict.code}, {text}", style)
    for warning in status.warnings:
        _terminal.out(f"  warning: {warning}", _terminal.YELLOW)
    if status.refusal is not None:
        _terminal.out(f"  next: {status.refusal.next_step}")
