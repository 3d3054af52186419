"""A terminal for tests: runs a program on a pseudo-terminal and answers what it asks."""

import os
import pty
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence

CTRL_C = "\x03"
_TIMEOUT = 60


def converse(argv: Sequence[str], answers: Sequence[tuple[str, str]], env: Mapping[str, str]) -> tuple[int, str]:
    """Run ``argv``; whenever the next question of ``answers`` appears, type its answer. Return exit code and screen.

    The answer ``CTRL_C`` interrupts instead; lone surrogates are typed as the bytes that they stand for (PEP 383).
    """
    main, side = pty.openpty()
    process = subprocess.Popen(argv, stdin=side, stdout=side, stderr=side, env=dict(env), start_new_session=True)
    os.close(side)
    screen = ""
    seen = 0
    pending = list(answers)
    try:
        while select.select([main], [], [], _TIMEOUT)[0]:
            try:
                read = os.read(main, 65536)
            except OSError:  # EIO: the last process with the terminal open has ended
                break
            if not read:
                break
            screen += read.decode("utf-8", "replace")
            if pending and pending[0][0] in screen[seen:]:
                seen = len(screen)
                answer = pending.pop(0)[1]
                if answer == CTRL_C:
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(main, answer.encode("utf-8", "surrogateescape") + b"\n")
    finally:
        os.close(main)
        if process.poll() is None and pending:  # it waits for something that was never asked
            process.kill()
    return process.wait(timeout=_TIMEOUT), screen
