"""``keyseat login`` and ``keyseat logout``: sign this account in for online activation, in a browser anywhere."""

import os

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import now_utc
from keyseat_verifier.cli import _common, _online, _terminal
from keyseat_verifier.cli._options import Command

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from keyseat_verifier.online.credentials import Credentials
    from keyseat_verifier.online.transport import Transport

_OPTIONS = {"--server": _online.SERVER_OPTION, "--json": _common.JSON_OPTION}
LOGIN = Command(
    "keyseat login [--server URL] [--json]",
    "Sign in for online activation. It shows a page and a code; open the page in any browser, on any machine,\n"
    "sign in there and approve the code. With --server the address is kept for later commands.",
    _OPTIONS,
)
LOGOUT = Command(
    "keyseat logout [--server URL] [--json]",
    "Sign out: the server forgets this sign-in, and the tokens kept here are removed. Sessions end with their lease.",
    _OPTIONS,
)


def run(argv: list[str]) -> int:
    """Run the command named by the first word; returns the exit code (docs/spec/reason-codes.md)."""
    word, *rest = argv
    command, act = (LOGIN, _login) if word == "login" else (LOGOUT, _logout)
    as_json = "--json" in rest
    try:
        options = command.parse(rest)
        if "--help" in options:
            _terminal.out(command.help())
            return 0
        message = act(options)
    except KeyseatError as error:
        return _online.refused(error, as_json=as_json)
    if as_json:
        _terminal.out_json({"ok": True, "code": str(ReasonCode.OK), "message": message})
    else:
        _terminal.out(message, _terminal.GREEN)
    return 0


def _login(options: dict[str, str]) -> str:
    from keyseat_verifier._internal.paths import home_folder
    from keyseat_verifier.online import config, oauth

    url, transport, credentials = _server(options)
    credentials.require_place()
    code = oauth.begin(transport, _device_name())
    # On stderr, and so also with --json: a person has to see it before anything can go on.
    _terminal.say(f"Open {code.verification_uri} in a browser and enter the code {code.user_code}", _terminal.BOLD)
    _terminal.say(f"or open {code.verification_uri_complete}")
    _terminal.say(f"Waiting for up to {code.expires_in // 60} minutes (Ctrl-C stops) ...")
    credentials.store(oauth.wait_for_approval(transport, code), now_utc())
    if "--server" in options:
        config.save_server(home_folder(), url)
    return f"signed in at {url}"


def _logout(options: dict[str, str]) -> str:
    from keyseat_verifier.online import oauth

    url, transport, credentials = _server(options)
    tokens = credentials.tokens()
    if tokens is None:
        return f"nobody is signed in at {url}"
    try:
        oauth.revoke(transport, tokens.refresh_token)
    finally:
        credentials.forget()  # also where the server is away: tokens that are gone cannot be stolen
    return f"signed out at {url}"


def _server(options: dict[str, str]) -> "tuple[str, Transport, Credentials]":
    from keyseat_verifier._internal.paths import home_folder
    from keyseat_verifier.online.config import load_config
    from keyseat_verifier.online.credentials import Credentials
    from keyseat_verifier.online.transport import Transport

    environ = _online.environment(options)
    found = load_config(home_folder(), environ)
    if found is None:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            "no licence server is named",
            next_step="Name it once: `keyseat login --server URL`; it is kept for later.",
        )
    transport = Transport(found.url, found.ca_bundle)
    return found.url, transport, Credentials(home_folder(), found, environ, transport)


def _device_name() -> str:
    """Return the name of this machine: what the person who approves is shown, as a claim."""
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    readable = name.encode("utf-8", "replace").decode()  # bytes that are no text
    return readable[:64] or "a machine without a name"
