"""docs/operations.md: the commands it shows exist, with the options it gives them."""

import re
import shlex
from pathlib import Path

import click
import pytest

from keyseat_issuer import settings
from keyseat_issuer.cli import main
from keyseat_issuer.ledger import patience
from keyseat_issuer.ledger.sessions.desk import MOST_WAITING
from keyseat_issuer.ledger.tools import bounds
from keyseat_verifier.online.grants import ACQUIRE_SECONDS

DOC = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^keyseat-issuer .*$", DOC.read_text(), flags=re.MULTILINE)]


def test_the_document_tells_the_bounds_of_waiting() -> None:
    text = " ".join(DOC.read_text().split())
    for line in (
        f"A server waits {bounds.CONNECT} seconds to connect, {bounds.LOCK} for a lock, {bounds.STATEMENT} for a",
        f"{bounds.STATEMENT} for a statement and {bounds.ANSWER} for any answer, and {patience.PATIENCE} for all",
        f"A command waits {settings.LOCK} seconds for a lock",
        f"in the middle of an act loses its transaction after {settings.IDLE} seconds",
    ):
        assert line in text
    service = " ".join((DOC.parent / "activation-service.md").read_text().split())
    for line in (
        f"A request waits {patience.PATIENCE} seconds at most",
        f"and {MOST_WAITING:,} can wait",
        f"stands still between two statements for {settings.IDLE} seconds",
        f"A server waits {bounds.LOCK} seconds for a lock, a command {settings.LOCK}.",
        f"PostgreSQL ends the act after {settings.IDLE} seconds of standing still",
    ):
        assert line in service


def test_clients_wait_longer_for_a_lease_than_a_server_for_its_ledger() -> None:
    assert patience.PATIENCE < ACQUIRE_SECONDS


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
