"""Grades: how much a machine ID holds a licence to one machine, and why; and what people call each evidence.

Plain strings throughout: ``keyseat machine-id`` tells the grade on its fast path.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Evident(Protocol):
        """What of a machine ID its grade rests on."""

        instance_source: str

        @property
        def kinds(self) -> tuple[str, ...]:
            """The kinds of evidence present."""

        @property
        def has_hardware(self) -> bool:
            """Whether anything but the account identifies the machine."""

        @property
        def for_superuser(self) -> bool:
            """Whether the account is the administrator's."""

        def tags_of(self, kind: str) -> tuple[bytes, ...]:
            """Return the tags of one kind."""


LABELS = {
    "firmware-uuid": "firmware UUID",
    "firmware-serial": "firmware serial",
    "nic": "network adapters",
    "disk": "system disk",
    "os": "operating system",
    "instance": "instance id",
    "user-id": "user account id",
    "user-name": "user account name",
}
"""What people are told each kind of evidence is."""

USUAL_NICS, USUAL_DISKS = 2, 1
"""As many adapters (Ethernet and Wi-Fi) and system disks as most machines have; of an ID with more people are told."""


def level(machine_id: "Evident") -> str:
    """Return the grade of an ID: ``strong``, ``fair`` or ``weak``.

    Strong: firmware and one more hardware item. Fair: two independent items of adapters, disk and operating
    system, or firmware with at most the operating system. Weak: one such item, or an instance or host id only.
    """
    present = machine_id.kinds
    firmware = ("firmware-uuid" in present) + ("firmware-serial" in present)
    hardware = firmware + ("nic" in present) + ("disk" in present)
    if firmware:
        return "strong" if hardware > 1 else "fair"
    return "fair" if hardware + ("os" in present) > 1 else "weak"


def grade(machine_id: "Evident") -> "tuple[str, tuple[str, ...]]":
    """Return the grade of an ID as ``level`` does, and its reasons, the deciding one first."""
    found = level(machine_id)
    present = machine_id.kinds
    firmware = [kind for kind in ("firmware-uuid", "firmware-serial") if kind in present]
    others = [kind for kind in ("nic", "disk", "os") if kind in present]
    named = _listed([LABELS[kind] for kind in firmware + others])
    if found == "strong":
        reason = f"It rests on hardware: {named}."
    elif firmware:
        reason = f"It rests on {named}; no second hardware item could be read."
    elif found == "fair":
        reason = f"It rests on {named}; the firmware could not be read."
    elif others == ["os"]:
        reason = "It rests on the operating system's id alone, which a copy of the disk or image carries along."
    elif others:
        reason = f"It rests on the {named} alone."
    elif machine_id.has_hardware:
        reason = "No hardware could be read; it rests on an id kept in a file."
    else:
        reason = "Nothing identifies the machine."
    return found, (reason, *_remarks(machine_id))


def _listed(names: "list[str]") -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _remarks(machine_id: "Evident") -> "list[str]":
    remarks = []
    counted = (("nic", "network adapters", USUAL_NICS), ("disk", "system disks", USUAL_DISKS))
    # Only what exceeds: two adapters beside two disks are as usual as beside one.
    many = [f"{count} {word}" for kind, word, usual in counted if (count := len(machine_id.tags_of(kind))) > usual]
    if many:
        remarks.append(
            f"It holds {_listed(many)}, more than most machines have: an ID put together by hand from several machines"
            " looks like this, and fits one of them at most."
        )
    if machine_id.instance_source == "instance-file":
        remarks.append("It holds an instance id from a file: whoever copies the file copies this part of it.")
    if machine_id.instance_source == "host-id":
        remarks.append("It holds a host's machine-id handed in read-only: every container given that file shares it.")
    if machine_id.for_superuser:
        remarks.append(
            "It is for the administrator account (root or LocalSystem): programs run by another user have another ID."
        )
    return remarks
