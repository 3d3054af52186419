"""docs/operations.md: the commands it shows exist, with the options it gives them."""

import re
import shlex
from pathlib import Path

import click
import pytest

from keyseat_issuer.cli import main

DOC = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^keyseat-issuer .*$", DOC.read_text(), flags=re.MULTILINE)]


def test_the_document_shows_commands() -> None:
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_document_exists_with_its_options(words: list[str]) -> None:
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command = found
    known = {name for parameter in command.params for name in parameter.opts}
    assert [] == [word for word in words if word.startswith("--") and word not in known]
    given = [word for word in words if not word.startswith("--")]
    assert len(given) >= sum(isinstance(each, click.Argument) and each.required for each in command.params)
