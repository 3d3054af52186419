"""What the online commands share: their options, the client they make, and trying again for a while."""

import os
import time

from keyseat_shared.codes import ReasonCode, exit_code
from keyseat_shared.errors import KeyseatError
from keyseat_verifier.cli import _common, _terminal

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keyseat_shared.trust import TrustBundle
    from keyseat_verifier.client.entitlement import Entitlement
    from keyseat_verifier.client.license_client import LicenseClient

SERVER_OPTION = ("URL", "the licence server (default: KEYSEAT_SERVER, then server.json in the home folder)")
OPTIONS = {
    "--product": ("CODE", "the product (default: the only one of the vendor's catalogue)"),
    "--trust": _common.TRUST_OPTION,
    "--server": SERVER_OPTION,
    "--api-key-file": ("FILE", "the file with the organisation's API key (default: KEYSEAT_API_KEY_FILE)"),
    "--organization": ("ID", "the organisation, where you belong to several (default: KEYSEAT_ORGANIZATION)"),
    "--instance": _common.INSTANCE_OPTION,
    "--json": _common.JSON_OPTION,
    "--allow-example-keys": _common.EXAMPLE_OPTION,
}
MOST_MINUTES = 20
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0
_PASSING = frozenset(
    {
        ReasonCode.QUOTA_EXCEEDED,
        ReasonCode.SERVER_UNREACHABLE,
        ReasonCode.LEDGER_UNAVAILABLE,
        ReasonCode.KEY_UNAVAILABLE,
    }
)


def environment(options: "dict[str, str]") -> "Mapping[str, str]":
    """Return the environment with what the options put in its place."""
    found = dict(os.environ)
    for option, name in (("--server", "KEYSEAT_SERVER"), ("--organization", "KEYSEAT_ORGANIZATION")):
        if option in options:
            found[name] = options[option]
    if "--api-key-file" in options:
        found["KEYSEAT_API_KEY_FILE"] = options["--api-key-file"]
        found.pop("KEYSEAT_API_KEY", None)
    return found


def client(options: "dict[str, str]", trust: "TrustBundle", product: str) -> "LicenseClient":
    """Return the client for a product."""
    from keyseat_verifier.client.license_client import LicenseClient

    return LicenseClient(
        product,
        trust,
        machine=_common.machine(options) if "--instance" in options else None,
        allow_example_keys="--allow-example-keys" in options,
        environ=environment(options),
    )


def minutes(options: "dict[str, str]") -> int:
    """Return ``--retry-minutes``.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for anything but 0 to 20.
    """
    text = options.get("--retry-minutes", "0")
    if not text.isascii() or not text.isdecimal() or int(text[:4]) > MOST_MINUTES or len(text) > 2:  # noqa: PLR2004 - two digits
        raise KeyseatError(ReasonCode.INVALID_INPUT, f"--retry-minutes takes 0 to {MOST_MINUTES}, not {text[:40]!a}")
    return int(text)


def patiently(
    ask: "Callable[[], Entitlement]",
    limit: float,
    *,
    pause: "Callable[[float], object]" = time.sleep,
    clock: "Callable[[], float]" = time.monotonic,
) -> "Entitlement":
    """Ask until the answer is yes, ``limit`` seconds are over, or waiting cannot help.

    Pauses grow to five minutes and are jittered, so that jobs which started together do not come back together. Where
    the server tells when a seat is free, none is longer than until then.

    Raises:
        KeyseatError: the last refusal.
    """
    from keyseat_verifier.online.api import jittered

    until = clock() + limit
    wait = _FIRST_PAUSE
    while True:
        try:
            return ask()
        except KeyseatError as error:
            this = min(jittered(wait, 0.6, 1.0), _until_free(error))
            if error.code not in _PASSING or clock() + this > until:
                raise
            _terminal.say(f"{error}; trying again in {this:.0f} s", _terminal.YELLOW)
        pause(this)
        wait = min(wait * 2, _LONGEST_PAUSE)


def _until_free(error: KeyseatError) -> float:
    """Return the seconds until a seat is free, by what the server tells; at least the first pause."""
    from keyseat_shared.instants import now_utc, parse_instant
    from keyseat_verifier.online.api import jittered

    told = error.details.get("server", error.details)
    free_at = told.get("free_at") if type(told) is dict else None
    try:
        left = (parse_instant(free_at) - now_utc()).total_seconds() if type(free_at) is str else _LONGEST_PAUSE
    except ValueError:
        left = _LONGEST_PAUSE
    return max(_FIRST_PAUSE, left + jittered(1.0))


def refused(error: KeyseatError, *, as_json: bool) -> int:
    """Tell an error with all its reasons, and return its exit code."""
    if as_json:
        _terminal.out_json({"ok": False, **error.to_dict()})
    _terminal.say(str(error), _terminal.RED)
    for reason in getattr(error, "reasons", ()):
        first = reason.message.splitlines()[0] if reason.message else ""
        _terminal.say(f"  {reason.path}: {reason.code}, {first}")
    _terminal.say(error.next_step)
    return exit_code(error.code)
