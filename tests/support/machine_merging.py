"""Machine IDs written by hand of parts of several machines, to make one licence good on all of them."""

import itertools
from collections.abc import Iterator

from keyseat_shared.evidence import Verdict
from keyseat_shared.machine_id import MAX_DISKS, MAX_NICS, MachineID
from keyseat_shared.matching import match


def strangers(machine: MachineID, count: int) -> list[MachineID]:
    """Return a machine and others like it, with which it shares nothing but the user account."""
    return [
        MachineID(
            {
                kind: [one if kind.startswith("user") else bytes([one[0] ^ number, *one[1:]]) for one in tags]
                for kind, tags in ((kind, machine.seen_of(kind)) for kind in machine.kinds)
            },
            instance_source=machine.instance_source,
        )
        for number in range(count)
    ]


def merged(machines: list[MachineID]) -> Iterator[MachineID]:
    """Deal the single items to the machines in every way; each gives as many of its adapters and disks as fit."""
    first = machines[0]
    singles = [kind for kind in first.kinds if kind not in {"nic", "disk"}]
    sets = {}
    for kind, limit in (("nic", MAX_NICS), ("disk", MAX_DISKS)):
        rounds = itertools.zip_longest(*[machine.tags_of(kind) for machine in machines])
        sets[kind] = [one for tags in rounds for one in tags if one is not None][:limit]
    for dealt in itertools.product(machines, repeat=len(singles)):
        tags = {kind: machine.tags_of(kind) for kind, machine in zip(singles, dealt, strict=True)}
        yield MachineID(tags | sets, instance_source=first.instance_source)


def as_users_see_it(machine: MachineID) -> MachineID:
    """Return a machine without its firmware, which on Linux only root can read."""
    tags = {kind: machine.tags_of(kind) for kind in machine.kinds if not kind.startswith("firmware")}
    return MachineID(tags, instance_source=machine.instance_source)


def most_machines_of_one_id(machines: list[MachineID]) -> int:
    """Return on how many of the machines the best of all merged IDs is good, run by root or by a user."""
    views = [(machine, as_users_see_it(machine)) for machine in machines]
    return max(
        sum(any(match(enrolled, view).verdict is Verdict.SAME for view in seen) for seen in views)
        for enrolled in merged(machines)
    )
