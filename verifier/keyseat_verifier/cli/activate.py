"""``keyseat activate``: activate a product online on this machine, for programs that run later."""

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant
from keyseat_verifier.cli import _common, _online, _terminal
from keyseat_verifier.cli._options import Command

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from keyseat_verifier.client.entitlement import Entitlement

COMMAND = Command(
    "keyseat activate [--product CODE] [options]",
    "Activate a product online: the server gives this machine a lease, which programs use until it ends, also\n"
    "while the server is away. A valid licence file goes first. A user's seat needs `keyseat login`; a floating\n"
    "session an API key or `keyseat login`. Exit codes: 0 activated, 1 refused, 2 wrong usage, 3 not reached.",
    _online.OPTIONS
    | {
        "--release-previous": ("", "first end the sessions that this user or API key has on this machine"),
        "--retry-minutes": ("N", "keep trying for N minutes (at most 20) while no seat is free or no server answers"),
    },
)


def run(argv: list[str]) -> int:
    """Run the command; returns the exit code (docs/spec/reason-codes.md)."""
    as_json = "--json" in argv
    try:
        options = COMMAND.parse(argv)
        if "--help" in options:
            _terminal.out(COMMAND.help())
            return 0
        found = _activate(options)
    except KeyseatError as error:
        return _online.refused(error, as_json=as_json)
    if as_json:
        _terminal.out_json(
            {
                "ok": True,
                "code": str(ReasonCode.OK),
                "product": found.product,
                "source": found.source,
                "organization": found.organization,
                "user": found.user,
                "expires_at": format_instant(found.expires_at),
                "session_id": None if found.source == "offline" else found.license_id,
                "warnings": list(found.warnings),
            }
        )
    else:
        _show(found)
    return 0


def _activate(options: dict[str, str]) -> "Entitlement":
    limit = _online.minutes(options) * 60
    trust = _common.load_trust(options)
    products = _common.products(options, trust)
    if len(products) > 1:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"--product is missing; the vendor has {', '.join(products)}",
            next_step=f"Name one: `keyseat activate --product {products[0]}`.",
        )
    client = _online.client(options, trust, products[0])
    previous = "--release-previous" in options
    return _online.patiently(lambda: client.activate(release_previous=previous), limit)


def _show(found: "Entitlement") -> None:
    until = format_instant(found.expires_at)
    if found.source == "offline":
        _terminal.out(f"{found.product}: a licence file entitles until {until}; nothing to activate", _terminal.GREEN)
    else:
        whose = f"{found.user}, {found.organization}" if found.user else found.organization
        _terminal.out(f"{found.product}: activated online for {whose}, until {until}", _terminal.GREEN)
        _terminal.out("Programs that run until then renew it. `keyseat release` gives it back.")
    for warning in found.warnings:
        _terminal.out(f"warning: {warning}", _terminal.YELLOW)
