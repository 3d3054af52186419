"""The `keyseat-issuer` frame: exit codes of the contract, JSON or people, and never a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from keyseat_issuer import cli
from keyseat_issuer.cli import COMMANDS, main
from keyseat_issuer.cli.output import Output, Styled, clean, json_option, pass_output
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run ``keyseat-issuer act``, whose body is the given function."""

    def invoke(body: Callable[[Output], None], *args: str, **options: object) -> Result:
        @click.command("act")
        @json_option
        @pass_output
        def act(output: Output) -> None:
            body(output)

        monkeypatch.setattr(cli.Program, "get_command", lambda _self, _ctx, _name: act)
        monkeypatch.setitem(COMMANDS, "act", COMMANDS["init"])
        return CliRunner().invoke(main, ["act", *args], **options)

    return invoke


def refusal(_output: Output) -> None:
    raise KeyseatError(
        ReasonCode.QUOTA_EXCEEDED, "all 5 seats are taken", details={"quota": 5, "next_free": None}, next_step="Wait."
    )


def test_every_command_loads() -> None:
    group = click.Context(main)
    assert [] == [name for name in COMMANDS if not isinstance(main.get_command(group, name), click.Command)]


def test_help_lists_every_command_without_loading_django() -> None:
    script = (
        "import sys\nfrom keyseat_issuer.cli import main\n"
        "try:\n    main(['--help'])\nfinally:\n    assert 'django' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert [] == [name for name in COMMANDS if f"  {name} " not in done.stdout]


def test_no_line_of_a_list_of_commands_ends_in_the_middle() -> None:
    # Click ends them at the first full stop with a space behind it.
    context = click.Context(main)
    loaded = [command for name in COMMANDS if (command := main.get_command(context, name)) is not None]
    lines = [one.get_short_help_str(200) for one in loaded]
    lines += [
        sub.get_short_help_str(200) for one in loaded if isinstance(one, click.Group) for sub in one.commands.values()
    ]
    assert [] == [line for line in lines if line.endswith(("e.g", "i.e", "etc", "e.g.", "i.e."))]


def test_a_mistyped_command_is_recognised() -> None:
    result = CliRunner().invoke(main, ["ofline"])
    assert 2 == result.exit_code
    assert "Did you mean 'offline'?" in result.stderr


def test_wrong_usage_is_json_too_where_json_is_asked_for() -> None:
    result = CliRunner().invoke(main, ["keys", "add", "--json"])
    answer = json.loads(result.stdout)
    assert (2, False, "INVALID_INPUT", "") == (result.exit_code, answer["ok"], answer["code"], result.stderr)
    assert "keys add --help" in answer["next"]


def test_a_refusal_is_told_in_three_parts(run: Callable[..., Result]) -> None:
    result = run(refusal)
    assert (1, "") == (result.exit_code, result.stdout)
    assert "QUOTA_EXCEEDED: all 5 seats are taken\n  quota: 5\n  next free: -\nNext: Wait.\n" == result.stderr


def test_a_refusal_as_json_is_one_object(run: Callable[..., Result]) -> None:
    result = run(refusal, "--json")
    expected = {
        "ok": False,
        "code": "QUOTA_EXCEEDED",
        "message": "all 5 seats are taken",
        "details": {"quota": 5, "next_free": None},
        "next": "Wait.",
    }
    assert (1, expected, "") == (result.exit_code, json.loads(result.stdout), result.stderr)


def test_a_success_as_json_says_ok(run: Callable[..., Result]) -> None:
    result = run(lambda output: output.emit({"file": Path("a.lic")}, lambda: None), "--json")
    assert (0, {"ok": True, "file": "a.lic"}) == (result.exit_code, json.loads(result.stdout))


def test_a_file_that_cannot_be_opened_is_could_not(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run(lambda _output: (tmp_path / "missing").read_bytes() and None)
    assert 3 == result.exit_code
    assert result.stderr.startswith("UNREADABLE: cannot use '")


def test_a_database_error_is_could_not_and_repeats_no_connection_string(run: Callable[..., Result]) -> None:
    def body(_output: Output) -> None:
        from django.db import OperationalError  # noqa: PLC0415 - as a command does

        raise OperationalError("connection to postgresql://ada:secret@db failed")

    result = run(body)
    assert 3 == result.exit_code
    assert result.stderr.startswith("LEDGER_UNAVAILABLE: ")
    assert "secret" not in result.stderr


@pytest.mark.parametrize("note", [None, "The licence is issued; export it again."])
def test_an_interrupt_says_what_holds(run: Callable[..., Result], note: str | None) -> None:
    def body(output: Output) -> None:
        if note:
            output.stopped_note = note
        raise KeyboardInterrupt

    result = run(body)
    assert 130 == result.exit_code
    assert f"Stopped. {note or 'Nothing was changed.'}" in result.stderr


def test_a_bug_of_ours_is_no_traceback(tmp_path: Path) -> None:
    script = "from keyseat_issuer import cli\ncli.Program.get_command = lambda *_: 1 / 0\ncli.main(['init'])\n"
    env = {name: value for name, value in os.environ.items() if name != "KEYSEAT_DEBUG"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, text=True, cwd=tmp_path, env=env
    )
    assert 3 == done.returncode
    assert done.stderr.startswith("Internal error (ZeroDivisionError)")
    assert "Traceback" not in done.stderr


class TestStreams:
    """The program as a process, with streams that are closed, full or left by their reader."""

    COMMAND = (sys.executable, "-c", "import sys; from keyseat_issuer.cli import main; main()")

    def test_a_closed_stdout_does_not_change_the_exit_code(self) -> None:
        done = subprocess.run(
            ["sh", "-c", '"$@" >&-', "sh", *self.COMMAND, "org", "--help"], capture_output=True, check=False, text=True
        )
        assert (0, "") == (done.returncode, done.stderr)

    def test_closed_streams_do_not_change_a_refusal(self, tmp_path: Path) -> None:
        env = os.environ | {"KEYSEAT_ISSUER_HOME": str(tmp_path / "none")}
        done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *self.COMMAND, "keys", "list"], check=False, env=env)
        assert 3 == done.returncode

    def test_a_reader_that_has_gone_is_no_refusal(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = subprocess.run([*self.COMMAND, "--help"], stdout=writing, stderr=subprocess.PIPE, check=False)
        finally:
            os.close(writing)
        assert (3, b"") == (done.returncode, done.stderr)


def test_a_word_that_is_no_text_is_refused_before_anything_is_looked_up() -> None:
    result = CliRunner().invoke(main, ["member", "list", os.fsdecode(b"Acme \xff")])
    assert 2 == result.exit_code
    assert result.stderr.startswith("INVALID_INPUT: 'Acme \\udcff' is not text")


class TestOutput:
    def test_names_cannot_command_the_terminal(self, run: Callable[..., Result]) -> None:
        name = "Acme\x1b[2J\x9b31m\r[red]"

        def body(output: Output) -> None:
            output.print(name)
            output.warn(name)
            output.table("Title", ("Name",), [(name,)])

        result = run(body)
        shown = "Acme\\x1b[2J\\x9b31m\\r[red]"
        assert 2 == result.stdout.count(shown)
        assert f"Warning: {shown}\n" == result.stderr
        assert clean(shown) == shown

    def test_json_is_ascii_and_parses_back(self, run: Callable[..., Result]) -> None:
        name = "Zoë \x9b31m"
        result = run(lambda output: output.emit({"name": name}, lambda: None), "--json")
        assert result.stdout.isascii()
        assert name == json.loads(result.stdout)["name"]

    def test_a_table_in_a_pipe_is_never_cut(self, run: Callable[..., Result]) -> None:
        long = "x" * 500
        result = run(lambda output: output.table("", ("Name", "Seats"), [(Styled(long, "red"), 7), ("y", 12)]))
        rows = result.stdout.splitlines()[-2:]
        assert [f"{long}       7".split(), ["y", "12"]] == [row.split() for row in rows]
        assert "\x1b" not in result.stdout

    def test_colours_need_a_terminal_and_no_no_color(self, run: Callable[..., Result]) -> None:
        assert "\x1b" not in run(refusal).stderr
        assert "\x1b" not in run(refusal, color=True, env={"NO_COLOR": "1"}).stderr

    def test_progress_yields_everything_and_is_silent_without_a_terminal(self, run: Callable[..., Result]) -> None:
        result = run(lambda output: output.print(str(list(output.progress(range(3), "Issuing")))))
        assert ("[0, 1, 2]\n", "") == (result.stdout, result.stderr)

    def test_what_cannot_be_undone_is_not_done_without_a_terminal(self, run: Callable[..., Result]) -> None:
        result = run(lambda output: output.confirm("Go on?", "issue", yes=False))
        assert 1 == result.exit_code
        assert result.stderr.startswith("NOT_CONFIRMED: there is no terminal")

    def test_yes_answers_for_scripts(self, run: Callable[..., Result]) -> None:
        assert 0 == run(lambda output: output.confirm("Go on?", "issue", yes=True)).exit_code
