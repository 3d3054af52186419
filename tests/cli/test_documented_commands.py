"""Every command that the documents, the messages and the README name exists, with the options they give it."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from keyseat_issuer.cli import main as issuer_program
from keyseat_verifier.cli import main as client_program

REPOSITORY = Path(__file__).resolve().parent.parent.parent
QUOTED = re.compile(r"`(?:\.venv/bin/)?(keyseat(?:-issuer)? [a-z-][^`\n]*)`")
FENCED = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TYPED = re.compile(r"^(?:\$ |.*&& )?(?:\.venv/bin/)?(keyseat(?:-issuer)? [^|>#&]+)")
OPTION = re.compile(r"--[a-z][a-z-]*")


def documents() -> Iterator[tuple[str, str]]:
    """Yield each document's name and text."""
    for path in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]:
        yield path.relative_to(REPOSITORY).as_posix(), path.read_text(encoding="utf-8")
    yield "verifier/README.md", (REPOSITORY / "verifier" / "README.md").read_text(encoding="utf-8")


def texts() -> Iterator[tuple[str, str]]:
    """Yield every text in the packages' sources, by file."""
    for package in ("shared", "verifier", "issuer"):
        for path in sorted((REPOSITORY / package).glob("keyseat_*/**/*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield path.relative_to(REPOSITORY).as_posix(), node.value


def mentioned() -> list[tuple[str, str]]:
    """Return (file, command line) for each command named anywhere."""
    found = {(name, command) for name, text in [*documents(), *texts()] for command in QUOTED.findall(text)}
    for name, text in documents():
        for block in FENCED.findall(text):
            found |= {(name, typed[1]) for line in block.splitlines() if (typed := TYPED.match(line))}
    return sorted(found)


def words_of(command: str) -> list[str]:
    """Split a command line; brackets and ellipses of usage lines mean nothing here."""
    return shlex.split(re.sub(r"[\[\]()…]|\.\.\.", " ", command))


def wrong_with_issuer(words: list[str]) -> str:
    """Walk down the commands and return what does not exist, or nothing."""
    context = click.Context(issuer_program)
    command: click.Command = issuer_program
    options = {name for parameter in command.params for name in parameter.opts}
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            several = [command.get_command(context, _first(command, name)) for name in word.split("|")]
            if None in several:
                return f"there is no command {word}"
            command = next(found for found in several if found is not None)
            options |= {name for parameter in command.params for name in parameter.opts + parameter.secondary_opts}
    return _unknown(words, options | {"--help", "--version"})


def _first(group: click.Group, word: str) -> str:
    """Return the subcommand that a word means: itself, unless the group has one that may be left out."""
    context = click.Context(group)
    group.parse_args(context, [word])
    return [*context._protected_args, *context.args][0]


def wrong_with_client(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Ask the command for its help and return what does not exist, or nothing."""
    if words[0].startswith("-"):
        return _unknown(words, {"--help", "--version"})
    for word in words[0].split("|"):
        try:
            code: object = client_program([word, "--help"])
        except SystemExit as stop:  # argparse's way to end its help
            code = stop.code
        if code != 0:
            return f"there is no command {word}"
    printed = capsys.readouterr()
    return _unknown(words, set(OPTION.findall(printed.out + printed.err)) | {"--help"})


def _unknown(words: list[str], options: set[str]) -> str:
    given = {name for word in words for name in OPTION.findall(word) if word.startswith("-")}
    return ", ".join(f"there is no option {name}" for name in sorted(given - options))


def test_the_readme_shows_the_demo_first_and_the_tests_second() -> None:
    blocks = FENCED.findall((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    expected = [
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/keyseat-issuer demo\n",
        ".venv/bin/pip install '.[test]' && .venv/bin/python -m pytest\n",
    ]
    assert expected == blocks[:2]


def test_commands_are_found_in_documents_and_messages() -> None:
    found = mentioned()
    assert ("README.md", "keyseat-issuer demo") in found
    assert any(name.endswith("codes.py") for name, _ in found)


def test_every_command_named_anywhere_exists(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for place, command in mentioned():
        program, *words = words_of(command)
        if words and words[0].isupper():  # `keyseat COMMAND --help`
            continue
        problem = wrong_with_client(words, capsys) if program == "keyseat" else wrong_with_issuer(words)
        if problem:
            wrong.append(f"{place}: `{command}`: {problem}")
    assert wrong == []


def test_every_file_that_the_documents_point_to_exists() -> None:
    pattern = re.compile(
        r"`((?:docs|tests|benchmarks|keys\.example|\.ci|shared|verifier|issuer|spec)/[A-Za-z0-9_./-]*)`"
    )
    missing = []
    for name, text in documents():
        for target in pattern.findall(text):
            here = REPOSITORY / target if not target.startswith("spec/") else REPOSITORY / "docs" / target
            if not here.exists():
                missing.append(f"{name}: {target}")
    assert missing == []
