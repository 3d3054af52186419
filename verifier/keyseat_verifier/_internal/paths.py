"""Where things live: one home folder, private to its owner, with licences, trust bundle, state and sessions under it.

``KEYSEAT_HOME`` moves it; otherwise it is ``.keyseat`` in the home of the account that runs the process.
"""

import os

from keyseat_shared.machine_id import hmac_sha256
from keyseat_verifier._internal.account_place import account_place
from keyseat_verifier.machine.places import keyseat_home

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from keyseat_shared.trust import TrustBundle

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600

LICENSES = "license"
TRUST = "trust.json"
TRUST_STEPS = "trust"
SESSIONS = "sessions"
LEASES = "leases"
SERVER = "server.json"
CREDENTIALS = "credentials.json"
STATE = "state"


def home_folder(home: str | os.PathLike[str] | None = None) -> str:
    """Return the home folder given, or that of ``keyseat_home``; it need not exist."""
    return keyseat_home(os.environ) if home is None else os.fspath(home)


def second_state_folder(home: str) -> str:
    """Return the folder of the second copy of the state, and make it where it is missing.

    It is the account's own place, which no environment variable moves: another home does not lose the state. Where
    there is no such place, both copies are in the home.
    """
    return account_place() or os.path.join(home, SESSIONS)


def former_state_folder(home: str) -> str:
    """Return the folder of the second copy as clients before format 2 of the clock state chose it."""
    if home != keyseat_home({}):
        return os.path.join(home, SESSIONS)
    parent = os.path.dirname(home)
    local = ("AppData", "Local", "keyseat") if os.name == "nt" else (".local", "state", "keyseat")
    return os.path.join(parent, *local)


def scope_of(trust: "TrustBundle") -> str:
    """Return what names a vendor in places that vendors share: its root keys, as a digest in hex."""
    keys = sorted([key.raw for key in trust.root])
    return hmac_sha256(b"keyseat/vendor/v1/", b"".join([len(key).to_bytes(2, "big") + key for key in keys])).hex()[:16]


def shown(path: str) -> str:
    """Return a path for messages and logs, without the account's name in it: ``~`` stands for the account's home."""
    home = os.path.dirname(keyseat_home({}))
    if len(home) > 1 and path.startswith(home + os.sep):
        return "~" + path[len(home) :]
    return path


def make_private(folder: str) -> None:
    """Make a folder and its parents, the new ones for their owner only.

    Raises:
        OSError: if that is not possible.
    """
    if not os.path.isdir(folder):
        parent = os.path.dirname(folder)
        if parent and parent != folder:
            make_private(parent)
        try:
            os.mkdir(folder, PRIVATE_FOLDER)
        except FileExistsError:  # another process was first
            return


def write_private(path: str, data: bytes) -> None:
    """Replace a file atomically: readers see the old content or the new, never a part. Mode 0600.

    Raises:
        OSError: if that is not possible; nothing is left behind.
    """
    make_private(os.path.dirname(path))
    from keyseat_shared.writing import replace  # late: most programs write nothing

    replace(path, data, PRIVATE_FILE)
