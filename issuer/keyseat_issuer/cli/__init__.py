"""The `keyseat-issuer` command: finds the subcommand, loads only that, and turns every error into an answer."""

import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import click

from keyseat_issuer.cli.output import Output
from keyseat_shared import __version__
from keyseat_shared.codes import ReasonCode, exit_code
from keyseat_shared.errors import KeyseatError

PROGRAM = "keyseat-issuer"
DEBUG_VARIABLE = "KEYSEAT_DEBUG"
_INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
_WRONG_USAGE = 2
_COULD_NOT = 3


class _Entry(NamedTuple):
    module: str
    attribute: str
    summary: str


# In the order of a vendor's first day. Summaries stand here so that `--help` loads no command.
COMMANDS: dict[str, _Entry] = {
    "demo": _Entry("keyseat_issuer.demo.command", "demo", "See the whole thing work on this machine, without set-up."),
    "init": _Entry("keyseat_issuer.cli.init", "init", "Make keys, trust bundle and ledger."),
    "migrate": _Entry("keyseat_issuer.cli.database", "migrate", "Bring the ledger's tables up to date."),
    "backup": _Entry("keyseat_issuer.cli.backup", "backup", "Copy the ledger (SQLite) while it is in use."),
    "org": _Entry("keyseat_issuer.cli.orgs", "org", "Add and list organisations."),
    "member": _Entry("keyseat_issuer.cli.members", "member", "Add, list and remove an organisation's members."),
    "invite": _Entry("keyseat_issuer.cli.invitations", "invite", "Invite people by links that work once, for a day."),
    "account": _Entry("keyseat_issuer.cli.accounts", "account", "See and shut off the accounts that sign in."),
    "subscription": _Entry("keyseat_issuer.cli.subscriptions", "subscription", "Add and list subscriptions."),
    "seat": _Entry("keyseat_issuer.cli.seats", "seat", "Assign, take back, transfer and list seats."),
    "offline": _Entry("keyseat_issuer.cli.offline", "offline", "Issue, test, find and export offline licences."),
    "trust": _Entry("keyseat_issuer.cli.trust", "trust", "Show and export the trust bundle, rotate and revoke keys."),
    "keys": _Entry("keyseat_issuer.cli.keys", "keys", "List, add and retire signing keys."),
    "policy": _Entry("keyseat_issuer.cli.policy", "policy", "Show and set the rules: sunset, terms, leases, products."),
    "session": _Entry("keyseat_issuer.cli.sessions", "session", "List online sessions, and end some by force."),
    "api-key": _Entry("keyseat_issuer.cli.api_keys", "api_key", "Make, list and revoke API keys of programs."),
    "audit": _Entry("keyseat_issuer.cli.audit", "audit", "List and verify the audit log."),
    "serve": _Entry("keyseat_issuer.cli.serve", "serve", "Run the activation service and the console."),
}


class Program(click.Group):
    """The command group: late loading, exit codes of the contract, and no traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of a vendor's first day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the module of one command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(importlib.import_module(entry.module), entry.attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was probably meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"there is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's signature
        windows_expand_args: bool = True,  # noqa: FBT001, FBT002 - click's signature
        **extra: Any,  # noqa: ANN401 - click's signature
    ) -> Any:  # noqa: ANN401 - click's signature
        """Run the command line; ends the process with the contract's exit code unless ``standalone_mode`` is off."""
        words = list(sys.argv[1:] if args is None else args)
        # Read by hand as well: a command line that does not parse must still be answered in JSON.
        output = Output(json="--json" in words)
        stdout = sys.stdout
        try:
            _require_text(words)
            result = super().main(
                words,
                prog_name or PROGRAM,
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                obj=output,
                **extra,
            )
            code = result if isinstance(result, int) else 0
        except SystemExit:
            if sys.stdout is stdout:
                raise
            # The reader of our pipe has gone: click mutes stdout and ends with 1 then, our contract's "no".
            code = _COULD_NOT
        except click.Abort:
            output.say(f"Stopped. {output.stopped_note}")
            code = _INTERRUPTED
        except click.UsageError as error:
            code = _WRONG_USAGE
            _show_usage(output, error)
        except (KeyseatError, click.FileError, OSError) as error:
            code = _refuse(output, _as_refusal(error))
        except _ledger_errors() as error:
            code = _refuse(output, _ledger_refusal(error))
        if standalone_mode:
            sys.exit(code)
        return code

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's signature
        """Run as the program: from here on even a bug of ours is told in a sentence."""
        sys.excepthook = _tell_bug
        _open_closed_streams()
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A character that the terminal's encoding lacks must not fail the command; stderr never does.
            sys.stdout.reconfigure(errors="backslashreplace")
        return self.main(*args, **kwargs)


def _open_closed_streams() -> None:
    """Let a program started without stdout or stderr (``>&-``) write to nowhere: its exit code still counts."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open until the end


def _require_text(words: Sequence[str]) -> None:
    # Bytes that the locale's encoding lacks arrive as lone surrogates (PEP 383), which no database takes.
    for word in words:
        if not word.isprintable() and any("\ud800" <= char <= "\udfff" for char in word):
            raise KeyseatError(
                ReasonCode.INVALID_INPUT,
                f"{word[:80]!a} is not text in this terminal's encoding",
                next_step="Type it in UTF-8, under a UTF-8 locale (LANG=C.UTF-8).",
            )


def _show_usage(output: Output, error: click.UsageError) -> None:
    if output.json:
        path = error.ctx.command_path if error.ctx else PROGRAM
        output.fail(
            KeyseatError(
                ReasonCode.INVALID_INPUT, error.format_message(), next_step=f"`{path} --help` shows what it takes."
            )
        )
    else:
        error.show()


def _refuse(output: Output, error: KeyseatError) -> int:
    output.fail(error)
    return exit_code(error.code)


def _as_refusal(error: KeyseatError | click.FileError | OSError) -> KeyseatError:
    if isinstance(error, KeyseatError):
        return error
    if isinstance(error, click.FileError):
        return KeyseatError(ReasonCode.UNREADABLE, error.format_message())
    name = f" {os.fsdecode(error.filename)!r}" if isinstance(error.filename, (str, bytes)) else ""
    return KeyseatError(
        ReasonCode.UNREADABLE,
        f"cannot use{name or ' a file'}: {error.strerror or type(error).__name__}",
        next_step="Check that it exists and that you may read and write it.",
    )


def _ledger_errors() -> tuple[type[Exception], ...]:
    """Return the database errors of Django, if it was loaded at all: most command lines never load it."""
    database = sys.modules.get("django.db")
    return (database.Error, database.InterfaceError) if database is not None else ()


def _ledger_refusal(error: Exception) -> KeyseatError:
    from keyseat_issuer.ledger.database import explain

    return explain(error)


def _tell_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if os.environ.get(DEBUG_VARIABLE):
        sys.__excepthook__(kind, error, trace)
    else:
        sys.stderr.write(
            f"Internal error ({kind.__name__}): this is a bug in {PROGRAM}, nothing you did.\n"
            f"Next: run it again with {DEBUG_VARIABLE}=1 and send us what it prints.\n"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    # Python would exit 1, which means "no" in our contract; this is "could not". The stack is unwound by now.
    os._exit(_COULD_NOT)


@click.command(cls=Program, name=PROGRAM, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
def main() -> None:
    """Licences for your products: keys, subscriptions, seats, and offline licences bound to machines.

    Everything lives under KEYSEAT_ISSUER_HOME (default ~/.keyseat-issuer). New here? Run `keyseat-issuer demo`.
    """
