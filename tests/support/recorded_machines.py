"""Recorded machines: a `Source` that answers from a folder in tests/machine_trees instead of from this machine.

A recording is ``machine.json`` (files, links, permanent addresses, account, and what an ordinary user may not read)
and, where tools or the registry are asked, their output as files in the shape they have on the real system.
"""

import copy
import functools
import json
from collections.abc import Sequence
from pathlib import Path

from keyseat_verifier.machine.source import LIMIT, Source

TREES = Path(__file__).parent.parent / "machine_trees"


class RecordedMachine(Source):
    """A recording. Its parts may be changed by a test; loading gives a fresh copy each time."""

    def __init__(self, recording: dict) -> None:
        self.platform = recording["platform"]
        self.about: str = recording["about"]
        self.files: dict[str, bytes] = {path: content.encode() for path, content in recording["files"].items()}
        self.links: dict[str, str] = dict(recording["links"])
        self.permanent_macs: dict[str, str] = dict(recording["permanent_macs"])
        self.denied: set[str] = set(recording["denied"])
        self.user: tuple[str, str] = tuple(recording["account"])
        self.environ: dict[str, str] = dict(recording["environ"])
        self.outputs: dict[str, bytes] = {}
        self.values: dict[str, dict[str, str]] = {}
        self.smbios: bytes | None = None
        self.disks: list[bytes] = [bytes.fromhex(disk) for disk in recording["system_disks"]]

    @property
    def is_superuser(self) -> bool:
        """Whether the recorded account may read what others may not."""
        return self.user[0] in {"0", "S-1-5-18"}

    def copy(self) -> "RecordedMachine":
        """Return an independent copy."""
        return copy.deepcopy(self)

    def add_tree(self, files: dict[str, str], links: dict[str, str]) -> None:
        """Add files and links."""
        self.files.update({path: content.encode() for path, content in files.items()})
        self.links.update(links)

    def remove(self, prefix: str) -> None:
        """Remove everything under a path."""
        self.files = {path: content for path, content in self.files.items() if not path.startswith(prefix)}
        self.links = {path: target for path, target in self.links.items() if not path.startswith(prefix)}

    def _names(self) -> list[str]:
        return [*self.files, *self.links]

    def read_file(self, path: str, limit: int = LIMIT) -> bytes:
        """Return a recorded file."""
        real = self._real(path)
        if real in self.denied and not self.is_superuser:
            raise PermissionError(path)
        if real not in self.files:
            raise FileNotFoundError(path)
        return self.files[real][:limit]

    def _real(self, path: str) -> str:
        """Follow recorded links in any part of a path."""
        for _ in range(20):
            parts = path.split("/")
            for count in range(2, len(parts) + 1):
                head = "/".join(parts[:count])
                if head in self.links:
                    target = self.links[head]
                    base = [] if target.startswith("/") else head.split("/")[:-1]
                    for part in target.split("/"):
                        if part == "..":
                            base = base[:-1]
                        elif part:
                            base.append(part)
                    path = "/" + "/".join([part for part in [*base, *parts[count:]] if part])
                    break
            else:
                return path
        return path

    def listdir(self, path: str) -> list[str]:
        """Return the names recorded under a path."""
        real = self._real(path).rstrip("/") + "/"
        names = {name[len(real) :].split("/")[0] for name in self._names() if name.startswith(real)}
        if not names:
            raise FileNotFoundError(path)
        return sorted(names)

    def readlink(self, path: str) -> str:
        """Return a recorded link's target."""
        head, _slash, last = path.rpartition("/")
        real = f"{self._real(head)}/{last}"
        if real not in self.links:
            raise FileNotFoundError(path)
        return self.links[real]

    def exists(self, path: str) -> bool:
        """Return whether anything is recorded at or under a path."""
        real = self._real(path)
        return any(name == real or name.startswith(real + "/") for name in self._names())

    def permanent_mac(self, interface: str) -> str:
        """Return a recorded permanent address."""
        if interface not in self.permanent_macs:
            raise FileNotFoundError(interface)
        return self.permanent_macs[interface]

    def account(self) -> tuple[str, str]:
        """Return the recorded account."""
        return self.user

    def run(self, argv: Sequence[str], limit_seconds: float = 5.0) -> bytes:
        """Return a recorded tool's output."""
        assert argv[0].startswith("/")
        assert limit_seconds > 0
        key = " ".join(argv)
        if key not in self.outputs:
            raise FileNotFoundError(argv[0])
        return self.outputs[key]

    def registry(self, key: str) -> dict[str, str]:
        """Return the text values of a recorded key."""
        for name, values in self.values.items():
            if name.lower() == key.lower():
                return values
        raise FileNotFoundError(key)

    def registry_keys(self, key: str) -> list[str]:
        """Return the names of the recorded keys under a key."""
        start = key.lower() + "\\"
        names = {name[len(start) :].split("\\")[0] for name in self.values if name.lower().startswith(start)}
        if not names:
            raise FileNotFoundError(key)
        return sorted(names)

    def firmware_table(self) -> bytes:
        """Return the recorded SMBIOS table."""
        if self.smbios is None:
            raise FileNotFoundError
        return self.smbios

    def system_disks(self) -> list[bytes]:
        """Return the recorded descriptors."""
        return self.disks


@functools.cache
def _recording(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def load(name: str) -> RecordedMachine:
    """Load a recording by the name of its folder."""
    folder = TREES / name
    recording = _recording(folder / "machine.json")
    machine = RecordedMachine(recording)
    for command, file in recording["tools"].items():
        machine.outputs[command] = (folder / file).read_bytes()
    if (folder / "registry.reg").exists():
        machine.values = read_reg((folder / "registry.reg").read_bytes())
    if (folder / "smbios.hex").exists():
        machine.smbios = bytes.fromhex((folder / "smbios.hex").read_text(encoding="ascii"))
    return machine


def names() -> list[str]:
    """Return the names of all recordings."""
    return sorted(folder.name for folder in TREES.iterdir() if (folder / "machine.json").exists())


def read_reg(data: bytes) -> dict[str, dict[str, str]]:
    r"""Read a registry export (UTF-16 with BOM, CRLF) into text values by key, without ``HKEY_LOCAL_MACHINE\``."""
    keys: dict[str, dict[str, str]] = {}
    values: dict[str, str] = {}
    for line in data.decode("utf-16").splitlines():
        if line.startswith("["):
            values = keys.setdefault(line.strip("[]").removeprefix("HKEY_LOCAL_MACHINE\\"), {})
        elif line.startswith('"') and '"="' in line:
            name, _equals, value = line[1:].partition('"="')
            values[name] = value[:-1].replace("\\\\", "\\").replace('\\"', '"')
    return keys
