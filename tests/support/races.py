"""Races between real processes: all are forked from one warm process and start on one signal.

A test calls ``race``; that runs this file as a program, which sets Django up, imports the task and forks before any
connection to the database is open, so that fifty contenders cost little more than their own work.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import stories
from databases import Ledger

_TIMEOUT = 180
"""Seconds after which a race counts as hung."""


def race(ledger: Ledger, task: str, processes: int, *, settings: str = "", **arguments: object) -> list[dict[str, Any]]:
    """Run ``task`` (``module:function`` of tests/support) in so many processes at once and return their results.

    Each is called with its number and the arguments, and returns something JSON can hold. The result of a
    contender is ``{"result": …}``, or ``{"code": …, "message": …}`` where it was refused. ``settings`` names other
    settings of Django than those of the ledger alone.
    """
    done = subprocess.run(
        [sys.executable, __file__, task, str(processes), json.dumps(arguments)],
        env=ledger.env | ({"DJANGO_SETTINGS_MODULE": settings} if settings else {}),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _main(task: str, processes: int, arguments: dict[str, Any]) -> None:
    from keyseat_issuer.bootstrap import setup  # noqa: PLC0415 - only in the racing program

    setup()
    stories.begin()
    module, _, name = task.partition(":")
    function = getattr(importlib.import_module(module), name)
    ready, go = os.pipe()
    results, answer = os.pipe()
    children = []
    for number in range(processes):
        child = os.fork()
        if child == 0:
            os.close(go)
            os.close(results)
            os.read(ready, 1)  # returns when the starter closes the other end
            _contend(function, number, arguments, answer)
        children.append(child)
    os.close(answer)
    os.close(ready)
    os.close(go)
    with os.fdopen(results, "rb") as stream:
        sys.stdout.buffer.write(stream.read())
    failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
    sys.stdout.flush()
    if failed:
        sys.exit(f"{len(failed)} contenders crashed")


def _contend(function: Callable[..., object], number: int, arguments: dict[str, Any], answer: int) -> None:
    from django.db import connections  # noqa: PLC0415 - only in the racing program

    from keyseat_shared.errors import KeyseatError  # noqa: PLC0415 - as above

    status = 1
    try:
        try:
            line: dict[str, object] = {"result": function(number, **arguments)}
        except KeyseatError as error:
            line = {"code": str(error.code), "message": error.message}
        connections.close_all()
        # One write of less than PIPE_BUF bytes is never torn (pipe(7)).
        os.write(answer, json.dumps(line).encode()[:4000] + b"\n")
        status = 0
    except BaseException as error:
        sys.stderr.write(f"contender {number}: {error!r}\n")
        sys.stderr.flush()
        raise
    finally:
        os._exit(status)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
