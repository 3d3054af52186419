"""The ``keyseat`` command: finds the command by its first word, and sees to it that no traceback reaches a user.

Commands are imported when they are run, and import late in turn: a cold start is what scripts pay every time.
"""

import sys

from keyseat_verifier.cli._streams import let_go_of, open_closed_streams, tell

_COMMANDS = {
    "machine-id": ("machine_id", "print the ID of this machine and user account"),
    "verify": ("verify", "check a licence file and say what each check found"),
    "inspect": ("inspect", "show what a file says, without verifying it"),
    "status": ("status", "show what entitles you to run, until when, and why other files do not"),
    "activate": ("activate", "activate a product online, for programs that run later"),
    "release": ("release", "give back the online sessions of this machine"),
    "login": ("login", "sign in for online activation"),
    "logout": ("login", "sign out again"),
}


def main(argv: "list[str] | None" = None) -> int:
    """Run a command line (without the program's name) and return the exit code (docs/spec/reason-codes.md)."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if sys.stdout is None or sys.stderr is None:
        open_closed_streams()
    code = _guarded(arguments)
    try:
        sys.stderr.flush()
    except OSError:
        let_go_of("stderr")
    return code


def _guarded(arguments: "list[str]") -> int:
    code = 3
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        tell("stopped\n")
        return 130
    except BrokenPipeError:
        let_go_of("stdout")
    except OSError as error:
        let_go_of("stdout")
        tell(f"the result cannot be written: {(error.strerror or 'unknown reason').lower()}\n")
        return 3
    except Exception as error:  # noqa: BLE001 - no traceback reaches a user, whatever happens
        return _unforeseen(error)
    return code


def _dispatch(argv: "list[str]") -> int:
    word = argv[0] if argv else "--help"
    if word in _COMMANDS:
        return _run(word, argv[1:])
    if word == "help" and argv[1:2] and argv[1] in _COMMANDS:
        return _run(argv[1], ["--help"])
    if word in {"-h", "--help", "help"}:
        sys.stdout.write(_help() if argv else "")
        tell("" if argv else _help())
        return 0 if argv else 2
    if word in {"-V", "--version"}:
        from keyseat_shared import __version__

        sys.stdout.write(f"keyseat {__version__}\n")
        return 0
    return _no_command(word, as_json="--json" in argv)


def _run(word: str, argv: "list[str]") -> int:
    if word == "machine-id":
        from keyseat_verifier.cli import machine_id

        return machine_id.run(argv)
    from importlib import import_module

    from keyseat_shared.errors import KeyseatError

    module = import_module(f"keyseat_verifier.cli.{_COMMANDS[word][0]}")
    try:
        if _COMMANDS[word][0] == "login":
            argv = [word, *argv]
        code: int = module.run(argv)
    except KeyseatError as error:
        from keyseat_verifier.cli._common import failed

        return failed(error)
    return code


def _unforeseen(error: Exception) -> int:
    from keyseat_shared.boundary import documented
    from keyseat_verifier.cli._common import failed

    found = documented(error)
    if found is None:
        raise error
    return failed(found)


def _no_command(word: str, *, as_json: bool) -> int:
    import difflib

    from keyseat_shared.codes import ReasonCode
    from keyseat_shared.errors import KeyseatError
    from keyseat_verifier.cli import _terminal

    close = difflib.get_close_matches(word, _COMMANDS, n=1)
    guess = f" (did you mean {close[0]}?)" if close else ""
    wrong = f"a command comes first, not {word!a}" if word.startswith("-") else f"there is no command {word!a}{guess}"
    error = KeyseatError(ReasonCode.INVALID_INPUT, wrong, next_step="`keyseat --help` lists the commands.")
    if as_json:
        _terminal.out_json({"ok": False, **error.to_dict()})
    _terminal.complain(error)
    return 2


def _help() -> str:
    width = max([len(word) for word in _COMMANDS])
    rows = "\n".join([f"  {word:<{width}}  {text}" for word, (_, text) in _COMMANDS.items()])
    return (
        "usage: keyseat COMMAND [options]\n\n"
        f"Licences for this machine and user account.\n\ncommands:\n{rows}\n\n"
        "`keyseat COMMAND --help` says more. KEYSEAT_HOME moves the home folder (~/.keyseat).\n"
    )
