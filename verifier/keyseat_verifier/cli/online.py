"""``keyseat activate``, ``release`` and ``login``: the online side of the client."""

from keyseat_shared.codes import ReasonCode
from keyseat_verifier.cli import _common, _terminal
from keyseat_verifier.cli._options import Command


def run(argv: list[str]) -> int:
    """Run the command named by the first word; returns the exit code of the contract (design, section 10)."""
    word, *rest = argv
    command = Command(
        f"keyseat {word} [--json]",
        "Online activation is not part of this version of the client.",
        {"--json": _common.JSON_OPTION},
    )
    options = command.parse(rest)
    if "--help" in options:
        _terminal.out(command.help())
        return 0
    next_step = (
        "Use an offline licence: send the output of `keyseat machine-id` to Customer Success, and put the file you"
        " get into the licence folder (`keyseat status` shows where)."
    )
    message = f"this version of the client cannot {word} online"
    if "--json" in options:
        _terminal.out_json({"ok": False, "code": str(ReasonCode.NOT_ALLOWED), "message": message, "next": next_step})
    _terminal.say(f"{ReasonCode.NOT_ALLOWED}: {message}", _terminal.RED)
    _terminal.say(next_step)
    return 3
