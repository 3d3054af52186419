"""Grades: how much a machine ID holds a licence to one machine, and why."""

from keyseat_shared.evidence import LABELS, Evidence, Grade, InstanceSource
from keyseat_shared.machine_id import MachineID

_FIRMWARE = (Evidence.FIRMWARE_UUID, Evidence.FIRMWARE_SERIAL)
_INDEPENDENT = (Evidence.NIC, Evidence.DISK, Evidence.OS)


def grade(machine_id: MachineID) -> tuple[Grade, tuple[str, ...]]:
    """Return the grade of an ID and its reasons, the deciding one first.

    Strong: firmware and one more hardware item. Fair: two independent items of adapters, disk and operating
    system, or firmware with at most the operating system. Weak: one such item, or an instance or host id only.
    """
    present = machine_id.evidence
    firmware = [kind for kind in _FIRMWARE if kind in present]
    others = [kind for kind in _INDEPENDENT if kind in present]
    hardware = firmware + [kind for kind in others if kind is not Evidence.OS]
    named = " and ".join(LABELS[kind] for kind in firmware + others)
    if firmware and len(hardware) > 1:
        found, reason = Grade.STRONG, f"It rests on hardware: {named}."
    elif firmware:
        found, reason = Grade.FAIR, f"It rests on {named}; no second hardware item could be read."
    elif len(others) > 1:
        found, reason = Grade.FAIR, f"It rests on {named}; the firmware could not be read."
    elif others == [Evidence.OS]:
        found, reason = (
            Grade.WEAK,
            "It rests on the operating system's id alone, which a copy of the disk or image carries along.",
        )
    elif others:
        found, reason = Grade.WEAK, f"It rests on the {named} alone."
    elif machine_id.has_hardware:
        found, reason = Grade.WEAK, "No hardware could be read; it rests on an id kept in a file."
    else:
        found, reason = Grade.WEAK, "Nothing identifies the machine."
    return found, (reason, *_remarks(machine_id))


def _remarks(machine_id: MachineID) -> list[str]:
    remarks = []
    if machine_id.instance_source == InstanceSource.INSTANCE_FILE:
        remarks.append(
            "It holds an instance id from a file: whoever copies that file copies this part of the identity."
        )
    if machine_id.instance_source == InstanceSource.HOST_ID:
        remarks.append("It holds a host's machine-id handed in read-only: every container given that file shares it.")
    if machine_id.for_superuser:
        remarks.append(
            "It is for the administrator account (root or LocalSystem): a program run by another user has another ID."
        )
    return remarks
