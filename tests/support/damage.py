"""Damages files that the client reads and looks what comes out, in a process that has loaded nothing else.

Run as a program: ``damage.py FOLDER first`` or ``damage.py FOLDER mass KIND SEED COUNT``. FOLDER holds what
``damage_files.py`` made. It imports nothing by itself, not even `json` or `random`: every case of ``first`` runs in
a process of its own, forked before anything of keyseat is loaded, so that a broken file is the first that is read.
``KEYSEAT_TEST_ACCOUNT_HOME`` moves the account's own place (``account_home/sitecustomize.py``); it must be set.
"""

# ruff: noqa: PLC0415, PTH102, PTH108, PTH110, PTH112, PTH118, PTH123 - it must load nothing before the file

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from keyseat_shared.trust import TrustBundle
    from keyseat_verifier import LicenseClient

    Check = Callable[["Place", bytes], None]

NOW = "2023-12-01T12:00:00+00:00"
_PIECES = (
    *(b"", b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"\0", b"\n", b" ", b"-", b"0", b"9", b"=", b"e9", b"."),
    *(b"NaN", b"-Infinity", b"null", b"true", b"{}", b"[]", b'""', b"\\u0000", b"\\ud800", b"\\u202e", b"\xff"),
    *(b"\xc0\xaf", b"\xed\xa0\x80", b"\xef\xbb\xbf", "\u0378".encode(), "\ufdd0".encode(), b"1" * 5000, b"[" * 20_000),
    *(b'{"a":' * 40, b"0001-01-01T00:00:01Z", b"9999-12-31T23:59:59Z", b"9007199254740993", b"mid1", b"QR==", b"/../"),
)


class Damage:
    """Damaged forms of some bytes: cut off at every byte, then changed in many ways, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        """Start from a seed."""
        self._state = seed or 1

    def _below(self, limit: int) -> int:
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self._state >> 33) % limit

    def mutated(self, data: bytes) -> bytes:
        """Return ``data`` with one to four changes."""
        for _ in range(1 + self._below(4)):
            at = self._below(len(data) + 1)
            to = min(len(data), at + self._below(24))
            piece = _PIECES[self._below(len(_PIECES))]
            how = self._below(6)
            if how == 0 and at < len(data):
                data = data[:at] + bytes([data[at] ^ 1 << self._below(8)]) + data[at + 1 :]
            elif how == 1:
                data = data[:at] + data[to:]
            elif how == 2:
                data = data[:to] + data[at:]
            elif how == 3:
                data = data[:at] + piece + data[to:]
            else:
                data = data[:at] + piece + data[at:]
        return data


class Place:
    """The files to damage, and the client that reads them; imports keyseat when it is made, and not before."""

    def __init__(self, folder: str) -> None:
        """Open the folder."""
        from datetime import datetime

        self.folder = folder
        self.home = os.path.join(folder, "home")
        self.now = datetime.fromisoformat(NOW)
        self._written = ""
        self._trust: TrustBundle | None = None

    def read(self, name: str) -> bytes:
        """Return a file as it was made."""
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()

    def write(self, name: str, data: bytes) -> None:
        """Put a file into the home."""
        self._written = os.path.join(self.home, name)
        with open(self._written, "wb") as file:
            file.write(data)

    def clean(self) -> None:
        """Take it away again."""
        if self._written and os.path.exists(self._written):
            os.unlink(self._written)
        self._written = ""

    def clock_files(self) -> "tuple[str, ...]":
        """Return where the client keeps the time."""
        guard = self.client()._guard
        return () if guard is None else guard.files(self.machine())

    def trust(self) -> "TrustBundle":
        """Return the pinned bundle; the same each time, because checking its keys takes longest."""
        from keyseat_shared.trust import TrustBundle

        self._trust = self._trust or TrustBundle.from_bytes(self.read("pinned.json"))
        return self._trust

    def machine(self) -> str:
        """Return the machine ID of the files."""
        return self.read("machine.txt").decode()

    def client(self, product: str = "KSE") -> "LicenseClient":
        """Return a client of the home."""
        from keyseat_verifier import LicenseClient

        return LicenseClient(product, self.trust(), home=self.home, machine=self.machine(), environ={})


def _verifier(place: Place, data: bytes) -> None:
    from keyseat_verifier import Verifier

    verifier = Verifier(place.trust())
    given = {"machine": place.machine(), "now": place.now}
    for check in (verifier.verify, verifier.verify_test):
        documented(lambda check=check: check(data, **given), "VerificationError")  # type: ignore[misc]
    for explain in (verifier.explain, verifier.explain_test):
        explain(data, **given)


def _bundle(place: Place, data: bytes) -> None:
    from keyseat_shared.trust import TrustBundle

    documented(lambda: TrustBundle.from_bytes(data), "TrustError")
    path = os.path.join(place.folder, "tried.json")
    with open(path, "wb") as file:
        file.write(data)
    documented(lambda: TrustBundle.load(path), "TrustError")
    documented(lambda: place.trust().update(data), "TrustError")


def _machine_id(place: Place, data: bytes) -> None:
    from keyseat_shared.machine_id import MachineID

    text = data.decode("utf-8", "replace")
    documented(lambda: MachineID.parse(text), "KeyseatError")
    documented(lambda: MachineID.parse_canonical(text), "KeyseatError")


def _request(place: Place, data: bytes) -> None:
    from keyseat_shared.request import parse_request

    documented(lambda: parse_request(data), "KeyseatError")


def _payload(place: Place, data: bytes) -> None:
    """Sign a damaged payload with the right key, so that everything behind the signature sees it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from keyseat_shared.envelope import Envelope, Signature, pae

    kind, keyid, seed = place.read("signing").decode().split("\n")
    if not data:
        return
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    for payload_type in kind.split(","):
        signed = Envelope(payload_type, data, (Signature(keyid, key.sign(pae(payload_type, data))),))
        _verifier(place, signed.to_bytes())


def _beside(name: str) -> "Check":
    """Return a check that a licence file entitles, whatever lies in the file ``name`` of the home."""

    def check(place: Place, data: bytes) -> None:
        place.write(name, data)
        found = place.client().check(place.now)
        if (found.source, found.license_id) != ("offline", place.read("good.id").decode()):
            raise AssertionError(f"the good licence does not entitle: {found}")

    return check


def _clock(place: Place, data: bytes) -> None:
    for path in place.clock_files():
        place.write(path, data)
    _beside("tried")(place, data)


def _old_clock(place: Place, data: bytes) -> None:
    from keyseat_verifier.client import mark

    for path in place.clock_files():
        if os.path.exists(path):
            os.unlink(path)
    _beside(os.path.join("state", mark.file_name(place.machine(), old=True)))(place, data)


def _memory(place: Place, data: bytes) -> None:
    folder = place.client()._trust._memory_folder()
    if not os.path.isdir(folder):
        os.mkdir(folder)
    _beside(os.path.join(folder, "2.json"))(place, data)


def _online(name: str) -> "Check":
    """Return a check that a licence and a lease entitle, whatever lies in the file ``name`` of the home."""

    def check(place: Place, data: bytes) -> None:
        place.write(name, data)
        for product, source in (("KSE", "offline"), ("KRE", "lease")):
            client = place.client(product)
            found = [client.check(place.now), client.status(place.now).entitlement]
            if [one and one.source for one in found] != [source, source]:
                raise AssertionError(f"what is good does not entitle: {found}")

    return check


def _instance(place: Place, data: bytes) -> None:
    place.write("instance-id", data)
    from keyseat_verifier import probe_machine

    probe_machine(environ={"KEYSEAT_HOME": place.home})


def _slot(place: Place, data: bytes) -> None:
    place.write(os.path.join("sessions", place.read("good.id").decode(), "1.lock"), data)
    with place.client().session(place.now) as session:
        if not session.is_held:
            raise AssertionError("no session")


def _commands(place: Place, data: bytes) -> None:
    """Run the commands that are given a file: they end by an exit code, whatever is in it."""
    from keyseat_verifier.cli import main

    bad, good = os.path.join(place.folder, "bad"), os.path.join(place.folder, "home", "license", "good.lic")
    with open(bad, "wb") as file:
        file.write(data)
    pinned = os.path.join(place.folder, "pinned.json")
    machine = ["--machine-id", place.machine(), "--at", "2023-12-01"]
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - the process ends soon
    for words in (
        ["verify", bad, "--trust", pinned, *machine],
        ["verify", bad, "--trust", pinned, "--test", "--json", *machine],
        ["verify", good, "--trust", bad, *machine],
        ["inspect", bad],
        ["inspect", bad, "--json"],
        ["machine-id", "--compare", bad],
    ):
        if main(words) not in {0, 1, 2, 3, 4}:
            raise AssertionError(words)


def documented(call: "Callable[[], object]", kind: str) -> None:
    """Require that a call returns, or raises the error of ``keyseat_shared.errors`` that is documented."""
    from keyseat_shared import errors

    try:
        call()
    except errors.KeyseatError as error:
        if str(error.code) == "UNFORESEEN" or not isinstance(error, getattr(errors, kind)):
            raise AssertionError(f"{kind} was to be raised, not {type(error).__name__} {error}") from error


KINDS: "dict[str, tuple[str, Check]]" = {
    # kind: the file to begin with, and what reads it
    "licence": ("home/license/good.lic", _verifier),
    "licence-of-sessions": ("sessions.lic", _verifier),
    "hybrid-licence": ("hybrid.lic", _verifier),
    "test-licence": ("test.lic", _verifier),
    "lease-as-licence": ("good.lease", _verifier),
    "licence-payload": ("payload", _payload),
    "pinned-trust": ("pinned.json", _bundle),
    "machine-id": ("machine.txt", _machine_id),
    "request": ("request.json", _request),
    "licence-beside": ("other.lic", _beside("license/bad.lic")),
    "newer-trust": ("newer.json", _beside("trust.json")),
    "trust-step": ("newer.json", _beside("trust/2.json")),
    "clock-state": ("clock.json", _clock),
    "old-clock-state": ("old-clock.json", _old_clock),
    "remembered-trust": ("newer.json", _memory),
    "server": ("server.json", _online("server.json")),
    "credentials": ("credentials.json", _online("credentials.json")),
    "lease": ("good.lease", _online("leases/activated/KRE_bad.lease")),
    "online-machine": ("leases-machine", _online("leases/machine")),
    "instance-id": ("instance-id", _instance),
    "slot": ("slot", _slot),
    "commands": ("home/license/good.lic", _commands),
}
FIRST = (b"", b"{", b"\xff\xfe{}", b'{"payloadType":1e999', b"[" * 60_000)


def run(folder: str, kind: str, cases: "list[bytes]") -> None:
    """Run cases of one kind in this process."""
    _, check = KINDS[kind]
    place = Place(folder)
    for data in cases:
        try:
            check(place, data)
        except BaseException as error:
            os.write(2, f"{kind}: {data[:300]!r}: {type(error).__name__}: {error}\n".encode())
            raise
        place.clean()


def first(folder: str) -> int:
    """Run the first cases of every kind, each in a process forked before anything was loaded."""
    failed = 0
    for kind, (name, _) in KINDS.items():
        with open(os.path.join(folder, name), "rb") as file:
            data = file.read()
        for case in (*FIRST, data[: len(data) // 2], data[:-3]):
            child = os.fork()
            if not child:
                code = 1
                try:
                    run(folder, kind, [case])
                    code = 0
                finally:
                    os._exit(code)
            failed += os.waitpid(child, 0)[1] != 0
    return failed


def main(folder: str, mode: str, kind: str = "", seed: str = "1", count: str = "0") -> int:
    """Run what the command line asks for; print how many cases there were."""
    loaded = sys.modules.keys() & {"json", "json.decoder", "hashlib", "re", "keyseat_shared", "keyseat_verifier"}
    if loaded:
        sys.stderr.write(f"the process has loaded {sorted(loaded)} already\n")
        return 1
    import sitecustomize

    if not sitecustomize.home:
        sys.stderr.write("KEYSEAT_TEST_ACCOUNT_HOME is not set\n")
        return 1
    if mode == "first":
        return 1 if first(folder) else 0
    with open(os.path.join(folder, KINDS[kind][0]), "rb") as file:
        data = file.read()
    damage = Damage(int(seed))
    cuts = [data[:length] for length in range(len(data))]
    run(folder, kind, [*cuts, *[damage.mutated(data) for _ in range(int(count))]])
    sys.stdout.write(f"{len(cuts)} {int(count)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
