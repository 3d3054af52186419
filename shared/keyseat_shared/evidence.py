"""The words of the machine ID: kinds of evidence, where an instance id came from, grades, verdicts, states."""

from enum import StrEnum


class Evidence(StrEnum):
    """A kind of evidence, in the order in which its tags stand in a machine ID."""

    FIRMWARE_UUID = "firmware-uuid"
    FIRMWARE_SERIAL = "firmware-serial"
    NIC = "nic"
    DISK = "disk"
    OS = "os"
    INSTANCE = "instance"
    USER_ID = "user-id"
    USER_NAME = "user-name"


class InstanceSource(StrEnum):
    """Where the instance evidence of a machine ID came from."""

    NONE = "none"
    INSTANCE_FILE = "instance-file"
    HOST_ID = "host-id"


class Grade(StrEnum):
    """How much a machine ID holds a licence to one machine."""

    STRONG = "strong"
    FAIR = "fair"
    WEAK = "weak"


class Verdict(StrEnum):
    """What a comparison of two machine IDs says."""

    SAME = "same"
    OTHER_MACHINE = "other-machine"
    OTHER_USER = "other-user"
    INDETERMINATE = "indeterminate"


class ComponentState(StrEnum):
    """One component of an enrolled machine ID against what is seen now."""

    SAME = "same"
    HALF = "half"
    CHANGED = "changed"
    UNREADABLE = "unreadable"
    NOT_ENROLLED = "not enrolled"
    NEW = "new"
