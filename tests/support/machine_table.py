"""The stability table: whether a licence must go on working after each change, on each recorded machine.

Every row is a change of machine_stability, and every cell says the verdict it must get. The table in
docs/machine-id.md is written from here.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

from machine_stability import (
    ABSENT,
    NO_ID,
    OTHER_USER,
    REFUSED,
    SAME,
    Case,
    address_randomised,
    all_adapters_swapped,
    card_with_many_ports,
    disk_moved,
    disk_replaced,
    disk_replaced_and_reinstalled,
    docked,
    fresh_container,
    fresh_container_without_volume,
    half_of_a_mirror_replaced,
    home_copied,
    image_on_other_hardware,
    instance_file_copied,
    kernel_and_firmware_updated,
    less_privileged,
    memory_and_processor_changed,
    merged_of_four,
    merged_of_three,
    merged_of_two,
    more_privileged,
    moved_to_another_host,
    nothing,
    one_adapter_swapped,
    one_firmware_field_flaps,
    other_user,
    other_user_claims_to_be_the_first,
    renamed_host,
    renamed_user,
    system_reinstalled,
    uuid_in_the_other_byte_order,
    variables_set,
    vpn_up,
)


def rows() -> dict[str, list[tuple[str, Callable[[Case], bool], dict[str, str], str]]]:
    """Return the rows by group: what happens, the change, verdicts that differ by column, the usual verdict."""
    legitimate = [
        ("nothing", nothing, {}, SAME),
        ("all network adapters swapped", all_adapters_swapped, {"VMware guest": REFUSED}, SAME),
        ("one of several adapters swapped", one_adapter_swapped, {}, SAME),
        ("card with eight ports added", card_with_many_ports, {}, SAME),
        ("docking station with network adapters", docked, {}, SAME),
        ("VPN connected", vpn_up, {}, SAME),
        ("MAC address randomised", address_randomised, {}, SAME),
        ("memory or processor changed", memory_and_processor_changed, {}, SAME),
        ("kernel and firmware updated", kernel_and_firmware_updated, {}, SAME),
        ("firmware UUID in the other byte order", uuid_in_the_other_byte_order, {}, SAME),
        ("one firmware field turns into a placeholder", one_firmware_field_flaps, {}, SAME),
        ("computer renamed", renamed_host, {}, SAME),
        ("user renamed", renamed_user, {}, SAME),
        ("other variables, locale, CI", variables_set, {}, SAME),
        ("firmware was readable, now is not", less_privileged, {}, SAME),
        ("firmware was not readable, now is", more_privileged, {}, SAME),
        ("moved live to another host", moved_to_another_host, {}, SAME),
        ("half of a mirror of disks replaced", half_of_a_mirror_replaced, {}, SAME),
        ("disk replaced, backup restored", disk_replaced, {"AWS instance": REFUSED}, SAME),
        (
            "system reinstalled",
            system_reinstalled,
            {"AWS instance": REFUSED, "VMware guest": REFUSED, "KVM guest": REFUSED},
            SAME,
        ),
        (
            "disk replaced and system reinstalled",
            disk_replaced_and_reinstalled,
            {"laptop, Linux": REFUSED, "server, Linux": REFUSED, "AWS instance": REFUSED},
            SAME,
        ),
    ]
    illegitimate = [
        ("image on other hardware", image_on_other_hardware, {"KVM guest": SAME}, REFUSED),
        ("home folder copied to another machine", home_copied, {"container": SAME}, REFUSED),
        ("instance file copied to another machine", instance_file_copied, {}, REFUSED),
        (
            "disk moved to another machine",
            disk_moved,
            {"laptop, Linux": SAME, "server, Linux": SAME, "AWS instance": SAME},
            REFUSED,
        ),
        ("one ID merged by hand from two machines, on both", merged_of_two, {}, REFUSED),
        ("one ID merged by hand from three machines, on two of them", merged_of_three, {}, REFUSED),
        ("one ID merged by hand from four machines, on two of them", merged_of_four, {}, REFUSED),
        ("another user", other_user, {}, OTHER_USER),
        ("another user with the first one's LOGNAME, USER, HOME", other_user_claims_to_be_the_first, {}, OTHER_USER),
        ("fresh container of the same image, its own volume", fresh_container, {}, REFUSED),
        ("fresh container of the same image, no volume", fresh_container_without_volume, {}, NO_ID),
    ]
    return {"Must go on working": legitimate, "Must be refused": illegitimate}


@functools.cache
def cell(column: str, change: Callable[[Case], bool]) -> str:
    """Return the verdict of a change on a machine, or nothing where the change cannot happen to it."""
    with tempfile.TemporaryDirectory() as folder:
        case = Case(column, Path(folder))
        if change is less_privileged and not column.endswith("root"):
            return ABSENT
        return case.verdict() if change(case) else ABSENT
