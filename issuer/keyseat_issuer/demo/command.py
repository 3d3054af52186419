"""`keyseat-issuer demo`: plays the acts, tells them, and ends with 0 only if each ended as told."""

import shutil
import sys
import textwrap
import time

import click

from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_issuer.demo.acts import Played
from keyseat_issuer.demo.script import ACTS, Act, play
from keyseat_issuer.demo.stage import stage
from keyseat_shared.codes import ReasonCode

_WIDTH = 110
_INDENT = " " * 5


@click.command()
@click.option("--serve", is_flag=True, help="Instead: leave a small organisation running, to click and to call.")
@click.option("--bind", default="127.0.0.1:8000", show_default=True, metavar="HOST:PORT", help="Where to serve.")
@json_option
@click.pass_context
@pass_output
def demo(output: Output, context: click.Context, *, serve: bool, bind: str) -> None:
    """See the whole thing work on this computer, without set-up.

    A throwaway vendor issues a licence for this computer's real machine ID; the client verifies it in its own
    process; then everything that must be refused is tried. Takes some seconds, and leaves nothing behind.
    """
    output.stopped_note = "The demo's folder is gone; nothing else was touched."
    if serve:
        from keyseat_issuer.demo.serving import serve_seeded  # late: the acts need no server

        with stage() as scene:
            code = serve_seeded(output, scene, bind)
        context.exit(code)
    _play_all(output, context)


def _play_all(output: Output, context: click.Context) -> None:
    began = time.monotonic()
    told: list[dict[str, object]] = []
    if not output.json:
        output.print("A vendor, a customer and this computer, in a folder that is deleted at the end.", "bold")
    from keyseat_issuer.ledger.audit.ledger_time import story_time  # late: loads Django

    with stage() as scene, story_time():
        for number, act in enumerate(ACTS, 1):
            if not output.json:
                output.print(f"\n{number:>3}  {act.title}", "bold")
                output.print(f"{_INDENT}$ {act.command}", "cyan")
            end = play(act, scene)
            told.append(_as_dict(number, act, end))
            if not output.json:
                _tell(output, act, end)
            if not told[-1]["ok"] and act.expected is ReasonCode.OK:
                output.warn("the acts after this one need it; they are not played")
                break
    good = sum(bool(act["ok"]) for act in told)
    done = len(told) == len(ACTS) and good == len(ACTS)
    if output.json:
        output.emit_json({"ok": done, "acts": told})
    else:
        seconds = time.monotonic() - began
        output.print(f"\n{good} of {len(ACTS)} acts ended as told, in {seconds:.0f} s.", "green" if done else "red")
        if done:
            output.print("Next: `keyseat-issuer init` makes an issuer of your own; add --no-sunset to issue today.")
    context.exit(0 if done else 1)


def _as_dict(number: int, act: Act, end: Played) -> dict[str, object]:
    return {
        "number": number,
        "title": act.title,
        "command": act.command,
        "expected": str(act.expected),
        "code": str(end.code),
        "ok": end.code is act.expected,
        "what": end.what,
        "why": act.why,
        "next": end.next,
    }


def _tell(output: Output, act: Act, end: Played) -> None:
    right = end.code is act.expected
    mark = "✓" if right else "✗"
    ended = "allowed" if end.code is ReasonCode.OK else f"refused: {end.code}"
    verdict = "as it should be" if right else f"and should have ended {act.expected}"
    output.print(f"{_INDENT}{mark} {ended}, {verdict}", "green" if right else "red")
    for label, text in (("what", end.what), ("why", act.why), ("next", end.next)):
        lead = f"{_INDENT}{label + ':':<6}"
        for line in text.splitlines():
            output.print(_wrapped(line, lead))
            lead = " " * len(lead)


def _wrapped(line: str, lead: str) -> str:
    width = min(_WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else _WIDTH
    return textwrap.fill(line, width, initial_indent=lead, subsequent_indent=" " * len(lead), break_on_hyphens=False)
