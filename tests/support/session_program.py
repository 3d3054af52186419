"""A customer's program for tests: asks or holds a session as told, tells each step on a line, ends when its input does.

Usage: session_program.py SERVER HOME CLOCK_FILE HOW, with the API key in the environment.
"""

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from keyseat_shared.instants import parse_instant
from keyseat_verifier import LicenseClient
from vendor import MACHINE, Vendor


def _tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def _main(server: str, home: str, clock_file: str, how: str) -> None:
    def clock() -> datetime:
        return parse_instant(Path(clock_file).read_text()).astimezone(UTC)

    client = LicenseClient("KRE", Vendor().bundle, home=home, machine=MACHINE, server=server, clock=clock)
    if how == "check":
        _tell("entitled", client.check().license_id)
        sys.stdin.read()
        return
    if how == "own handler":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    with client.session() as session:
        _tell("held", session.entitlement.license_id)
        if how == "exit":
            sys.exit(3)
        if how == "fork":
            child = os.fork()
            if child == 0:
                held = session.is_held
                session.release()
                sys.exit(10 + held)  # runs the exit handlers that the parent registered
            _tell("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        sys.stdin.read()


if __name__ == "__main__":
    _main(*sys.argv[1:])
