"""This machine as the server knows it: its machine ID, or an id of its own where nothing identifies it.

A bare container has no evidence to bind an offline licence to. Online that is no need: the server counts sessions,
and the lease is bound to a random id that is kept beside it and is worth nothing for an offline licence.
"""

import contextlib
import os
import secrets

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.files import read_file
from keyseat_shared.machine_id import MachineID, tag
from keyseat_verifier._internal.paths import LEASES, write_private
from keyseat_verifier.verify.verifier import Machine

_NAME = "machine"
_USER = ("user-id", "user-name")
_HEX = frozenset("0123456789abcdef")
_DIGITS = 32


def online_machine(probed: Machine, home: str, spare: str) -> Machine:
    """Return the machine given, or where a probe found no evidence the one made from a kept random id.

    ``spare`` is the random id to use where none can be kept; see ``new_id``.

    Raises:
        KeyseatError: ``NO_MACHINE_EVIDENCE`` where not even the user account is known.
    """
    found = probed if isinstance(probed, MachineID) else getattr(probed, "machine_id", None)
    if not isinstance(found, MachineID) or found.is_printable:
        return probed
    if not found.tags_of("user-id"):
        raise KeyseatError(
            ReasonCode.NO_MACHINE_EVIDENCE,
            "neither this machine nor the user account can be identified",
            next_step="Run as an account that the system knows.",
        )
    kept = _kept_id(home)
    if not kept:
        kept = spare
        with contextlib.suppress(OSError):
            write_private(os.path.join(home, LEASES, _NAME), spare.encode() + b"\n")
    return _made_from(found, kept)


def earlier_machine(probed: Machine, home: str) -> MachineID | None:
    """Return the machine that ``online_machine`` gave before this one had an instance id, or ``None``."""
    found = probed if isinstance(probed, MachineID) else getattr(probed, "machine_id", None)
    if not isinstance(found, MachineID) or not found.tags_of("instance") or set(found.kinds) - {"instance", *_USER}:
        return None
    kept = _kept_id(home)
    return _made_from(found, kept) if kept else None


def _made_from(account: MachineID, kept: str) -> MachineID:
    tags = {kind: account.tags_of(kind) for kind in _USER}
    return MachineID({**tags, "instance": [tag("instance", kept)]}, instance_source="instance-file")


def _kept_id(home: str) -> str:
    try:
        text = read_file(os.path.join(home, LEASES, _NAME)).decode("ascii", "replace").strip()
    except KeyseatError:
        return ""
    return text if len(text) == _DIGITS and _HEX.issuperset(text) else ""


def new_id() -> str:
    """Return a new random id."""
    return secrets.token_hex(_DIGITS // 2)
