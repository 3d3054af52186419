"""Run a command on another machine: a recorded one, laid over this one in a mount namespace of its own.

    python tests/support/machine_overlay.py linux-laptop [--user NAME] COMMAND...

For root on Linux. Nothing outside of the namespace changes. The command sees the recorded ``/sys``, id of the system
and root device, and no mark of a container in ``/``; the rest, accounts and files included, is this machine's. In
place of a recording, ``here`` leaves the machine as it is. Any user named can run the Python that runs this.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from recorded_machines import RecordedMachine, load


def main() -> int:
    """Make the namespace, lay the machine over it, become the user, and run the command."""
    if sys.argv[1] == "--inside":
        _run(Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
    with tempfile.TemporaryDirectory(prefix="keyseat-overlay-") as folder:
        again = [sys.executable, __file__, "--inside", folder, *sys.argv[1:]]
        return subprocess.run(["unshare", "--mount", "--propagation", "private", *again], check=False).returncode


def _run(folder: Path, tree: str, command: list[str]) -> NoReturn:
    user = command[1] if command[0] == "--user" else ""
    umask = os.umask(0o022)
    if tree != "here":
        _lay_over(folder, tree)
    if user:
        _let_everybody_reach_python()
        _become(user)
        command = command[2:]
    os.umask(umask)
    os.execvp(command[0], command)  # noqa: S606 - the command that was asked for


def _lay_over(folder: Path, tree: str) -> None:
    machine = load(tree)
    root, here = folder / "root", Path.cwd()
    root.mkdir()
    # The root file system is named by its source, as btrfs is: a tmpfs has no device number of its own.
    source = next(
        line.split(" - ")[1].split(" ")[1]
        for line in machine.files["/proc/self/mountinfo"].decode().splitlines()
        if line.split(" ")[4] == "/"
    )
    _mount("-t", "tmpfs", "-o", "mode=755", source, root)
    _show_the_rest_of_this_machine(root)
    _write_sys(root, machine)
    # On a disk, not on the tmpfs: an id there would be one that is made anew at every start.
    shutil.copytree("/etc", folder / "etc", symlinks=True)
    (folder / "etc/machine-id").write_bytes(machine.files["/etc/machine-id"])
    _mount("--bind", folder / "etc", root / "etc")
    old = root / "old"
    old.mkdir()
    subprocess.run(["pivot_root", root, old], check=True)
    subprocess.run(["umount", "--lazy", "/old"], check=True)
    Path("/old").rmdir()
    os.chdir(here)


def _show_the_rest_of_this_machine(root: Path) -> None:
    for entry in Path("/").iterdir():
        if entry.name in {"sys", ".dockerenv"}:
            continue
        place = root / entry.name
        if entry.is_symlink():
            place.symlink_to(entry.readlink())
        elif entry.is_dir():
            place.mkdir()
            _mount("--rbind", entry, place)
        else:
            place.touch()
            _mount("--bind", entry, place)


def _write_sys(root: Path, machine: RecordedMachine) -> None:
    (root / "sys").mkdir()
    _mount("-t", "tmpfs", "-o", "mode=755", "sysfs", root / "sys")
    for path, content in machine.files.items():
        if path.startswith("/sys/"):
            place = root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            if path in machine.denied:
                place.chmod(0o400)
    for path, target in machine.links.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)


def _let_everybody_reach_python() -> None:
    """Open the folders above the interpreter, such as root's home: with that interpreter alone in them."""
    python = Path(sys.base_prefix)
    closed = next((one for one in reversed(python.parents) if one.stat().st_mode & 0o005 != 0o005), None)
    if closed is not None:
        with tempfile.TemporaryDirectory() as aside:
            _mount("--bind", python, aside)
            _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", closed)
            python.mkdir(parents=True)
            _mount("--move", aside, python)


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def _become(name: str) -> None:
    account = pwd.getpwnam(name)
    os.initgroups(name, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    os.environ |= {"HOME": account.pw_dir, "USER": name, "LOGNAME": name}


if __name__ == "__main__":
    sys.exit(main())
