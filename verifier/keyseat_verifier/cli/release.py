"""``keyseat release``: give back the online sessions of this machine."""

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant
from keyseat_verifier.cli import _common, _online, _terminal
from keyseat_verifier.cli._options import Command

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from keyseat_verifier.online.desk import Released

COMMAND = Command(
    "keyseat release [--product CODE] [--previous] [options]",
    "Give back the online sessions kept on this machine, except those that a running program holds. Offline\n"
    "licences cannot be given back. Exit codes: 0 done, 1 refused, 2 wrong usage, 3 not reached.",
    _online.OPTIONS
    | {"--previous": ("", "all sessions that this user or API key has on this machine, also of killed programs")},
)


def run(argv: list[str]) -> int:
    """Run the command; returns the exit code (docs/spec/reason-codes.md)."""
    as_json = "--json" in argv
    try:
        options = COMMAND.parse(argv)
        if "--help" in options:
            _terminal.out(COMMAND.help())
            return 0
        released = _release(options)
    except KeyseatError as error:
        return _online.refused(error, as_json=as_json)
    is_foreign = any(found.foreign for _, found in released)
    if as_json:
        code = ReasonCode.NOT_ALLOWED if is_foreign else ReasonCode.OK
        products = [_value(*entry) for entry in released]
        _terminal.out_json({"ok": not is_foreign, "code": str(code), "products": products})
    else:
        for product, found in released:
            _show(product, found)
    if is_foreign:
        _terminal.say("Give them back with the API key, or signed in as the user, that they were begun with.")
    return 1 if is_foreign else 0


def _release(options: dict[str, str]) -> "list[tuple[str, Released]]":
    trust = _common.load_trust(options)
    previous = "--previous" in options
    done = []
    for product in _common.products(options, trust):
        client = _online.client(options, trust, product)
        try:
            done.append((product, client.release(previous=previous)))
        except KeyseatError as error:
            # Products can have different credentials: only those of the product that was asked for must work.
            if "--product" in options or error.details.get("reason") != "missing":
                raise
    return done


def _value(product: str, found: "Released") -> dict[str, object]:
    return {
        "product": product,
        "released": list(found.ended),
        "previous": found.previous,
        "held": [{"session_id": session_id, "pid": pid or None} for session_id, pid in found.held],
        "foreign": [
            {"session_id": session_id, "expires_at": format_instant(until)} for session_id, until in found.foreign
        ],
    }


def _show(product: str, found: "Released") -> None:
    count = max(len(found.ended), found.previous)
    if count:
        _terminal.out(f"{product}: {count} session{'s' if count != 1 else ''} given back", _terminal.GREEN)
    for session_id, pid in found.held:
        _terminal.out(f"{product}: session {session_id} is held by process {pid or 'unknown'}: it gives it back itself")
    for session_id, until in found.foreign:
        _terminal.out(
            f"{product}: session {session_id} was begun by somebody else than who asks now,"
            f" and stays until {format_instant(until)}",
            _terminal.RED,
        )
    if not count and not found.held and not found.foreign:
        _terminal.out(f"{product}: no online session is kept here")
