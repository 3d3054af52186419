"""Becoming another account, as root or, where the kernel lets everybody, in a user namespace of one's own (Linux)."""

import ctypes
import functools
import os
import subprocess
import sys
from pathlib import Path

_NEW_USER_NAMESPACE = 0x10000000  # CLONE_NEWUSER of <linux/sched.h>

HOW = "neither root nor user namespaces: this account cannot become another"
"""Why a test is skipped where `can_become` says no."""


def become(uid: int) -> None:
    """Make this process, which must have one thread, run as another account.

    Raises:
        OSError: if this account may not.
    """
    mine = os.getuid()
    if mine == 0:
        os.setuid(uid)
        return
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_USER_NAMESPACE):
        raise OSError(ctypes.get_errno(), "no user namespaces")
    Path("/proc/self/uid_map").write_text(f"{uid} {mine} 1", encoding="ascii")


@functools.cache
def can_become() -> bool:
    """Whether this account can become another here."""
    return run_script("from accounts import become; become(54321)").returncode == 0


def run_script(script: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run Python code that may import this module before it becomes another account."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": path} | environ,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
