"""Rows measured as whole processes: from the launch of a program to its exit, imports and probe included."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from sample import PRODUCT, Sample
from timing import Row, compare, take_turns

REPOSITORY = Path(__file__).resolve().parent.parent
PEERS = ("PyJWT[crypto]>=2.9", "py-machineid>=0.6")

_PYJWT_SCRIPT = """
import sys, jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key
key = load_pem_public_key(open(sys.argv[2], "rb").read())
jwt.decode(open(sys.argv[1]).read(), key, algorithms=["EdDSA"], audience="KSE")
print("OK")
"""


class Installed(NamedTuple):
    """An environment with the client's wheel and the peers; ``note`` says where it is not a fresh one."""

    python: Path
    home: Path
    note: str

    def program(self, name: str) -> Path:
        """Return the path of an installed program."""
        return self.python.with_name(name + (".exe" if sys.platform == "win32" else ""))

    def call(self, *command: str | Path, expect: str) -> Callable[[], object]:
        """Return a function that launches a command and waits for it, after one launch that must print ``expect``."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "KEYSEAT", "COV"))}
        environment = kept | {"KEYSEAT_HOME": str(self.home)}
        words = [str(word) for word in command]
        first = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if first.returncode or expect not in first.stdout:
            msg = f"{words[0]} does not do its work: {first.stdout}{first.stderr}"
            raise RuntimeError(msg)

        def launch() -> None:
            subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

        return launch


@contextlib.contextmanager
def installed() -> Iterator[Installed]:
    """Install the client's wheel and the peers into a fresh environment, as a customer would."""
    with tempfile.TemporaryDirectory() as folder:
        home, environment = Path(folder) / "home", Path(folder) / "env"
        home.mkdir()
        python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        source = Path(folder) / "source"
        for name in ("shared", "verifier"):
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".*")
            shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
        try:
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
            pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
            subprocess.run([*pip, source / "verifier", *PEERS], check=True, capture_output=True)
        except subprocess.CalledProcessError:
            yield Installed(Path(sys.executable), home, "no fresh environment could be made: measured in this one")
        else:
            yield Installed(python, home, "")


def verify_row(place: Installed, rounds: int) -> Row:
    """Launch ``keyseat verify``, which probes this machine, and wait for its verdict."""
    sample = Sample()
    machine_id = subprocess.run(
        [place.program("keyseat"), "machine-id", "--instance", place.home / "instance-id"],
        env=os.environ | {"KEYSEAT_HOME": str(place.home)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    trust, license_file = sample.write(place.home, machine_id)
    token, key, script = (place.home / name for name in ("token.jwt", "key.pem", "peer.py"))
    _write_token(sample, machine_id, token, key)
    script.write_text(_PYJWT_SCRIPT)
    verify = place.call(
        place.program("keyseat"), "verify", license_file, "--trust", trust, "--product", PRODUCT, expect="VALID"
    )
    peer = place.call(place.python, script, token, key, expect="OK")
    times = take_turns({"bare python": _bare(place), "keyseat": verify, "PyJWT script, no probe": peer}, rounds, 1)
    return compare(
        "launch → verdict of keyseat verify", times, baseline="bare python", ours="keyseat", limit=4.6, aim=3.35
    )


def machine_id_row(place: Installed, rounds: int) -> Row:
    """Launch ``keyseat machine-id`` and wait for the ID."""
    keyseat = place.program("keyseat")
    place.call(keyseat, "machine-id", "--instance", place.home / "instance-id", expect="mid1")
    peer = "import machineid; print('id', machineid.id())"
    times = take_turns(
        {
            "bare python": _bare(place),
            "keyseat": place.call(keyseat, "machine-id", expect="mid1"),
            "py-machineid": place.call(place.python, "-c", peer, expect="id"),
        },
        rounds,
        1,
    )
    return compare("keyseat machine-id", times, baseline="bare python", ours="keyseat", limit=2.6, aim=1.5)


def _bare(place: Installed) -> Callable[[], object]:
    return place.call(place.python, "-c", "pass", expect="")


def _write_token(sample: Sample, machine_id: str, token: Path, key: Path) -> None:
    import jwt  # noqa: PLC0415 - a peer, needed here only
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 - as above

    claims = sample.payload(machine_id).to_dict() | {"exp": 4_000_000_000, "aud": PRODUCT}
    token.write_text(jwt.encode(claims, sample.private, algorithm="EdDSA"))
    public = sample.private.public_key()
    key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
