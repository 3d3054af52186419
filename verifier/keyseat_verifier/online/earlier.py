"""Sessions whose leases lie here and serve no program any more, although the server still keeps their seats.

One kind are those begun under the id that a machine without evidence had before it got an instance id. With the
instance id it has another machine ID, and no program here can use the earlier lease any more: its seat is given back
when one is taken under the new ID. That both are this machine's is known by the random id kept in the home folder; a
machine with hardware of its own that shares the folder has never gone by that id.

The other kind are those whose leases were signed for longer than the vendor's policy allows by now.
"""

from datetime import datetime

from keyseat_shared.errors import KeyseatError
from keyseat_verifier.online.api import ProblemError, ServerApi
from keyseat_verifier.online.leases import LeaseStore, StoredLease, remove
from keyseat_verifier.online.machine import earlier_machine
from keyseat_verifier.online.transport import Deadline
from keyseat_verifier.verify.verifier import Machine, Verifier


def earlier_leases(
    store: LeaseStore, verifier: Verifier, probed: Machine, home: str, now: datetime
) -> list[StoredLease]:
    """Return the leases kept here that count at ``now`` for the id that this machine had before, if it had one."""
    machine = earlier_machine(probed, home)
    if machine is None:
        return []
    # Without a clock: giving a session back neither records the time nor checks it.
    plain = Verifier(verifier.trust, verifier.product, allow_example_keys=True)
    return store.find(plain, machine, now)[0]


def outlived_leases(store: LeaseStore, verifier: Verifier, machine: Machine, now: datetime) -> list[StoredLease]:
    """Return the leases kept here that the policy has ended at ``now``, and the server has not."""
    plain = Verifier(verifier.trust, verifier.product, allow_example_keys=True)  # without a clock, as above
    counting = {kept.path for kept in store.find(plain, machine, now)[0]}
    return [kept for kept in store.find(plain, machine, now, as_signed=True)[0] if kept.path not in counting]


def give_back_earlier(api: ServerApi, store: LeaseStore, leases: list[StoredLease], deadline: Deadline) -> None:
    """Give back those that no running program holds. What cannot be given back now ends with its lease."""
    for kept in leases:
        session_id = kept.lease.session_id
        if store.holder(session_id) is not None:
            continue
        try:
            known = give_back(api, session_id, deadline)
        except KeyseatError:
            return
        if known:
            store.forget_slot(session_id)
            remove(kept.path)


def give_back(api: ServerApi, session_id: str, deadline: Deadline) -> bool:
    """End a session, and tell whether the server knows it under these credentials.

    Raises:
        KeyseatError: the server refuses otherwise, or cannot be asked.
    """
    try:
        api.release(session_id, deadline)
    except ProblemError as error:
        if not error.is_unknown:
            raise
        return False
    return True
