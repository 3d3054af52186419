"""What a program passes in: bytes, a machine and an instant, each in one of its forms. The rest is a misuse."""

from datetime import UTC, datetime

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import CouldNotVerifyError, KeyseatError, MisuseError
from keyseat_shared.machine_id import MachineID


def as_bytes(data: object) -> bytes:
    """Return the bytes of a file.

    Raises:
        MisuseError: for anything but bytes.
    """
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    msg = f"data must be the bytes of a licence file, not {type(data).__name__}"
    raise MisuseError(msg)


def as_machine(machine: object) -> MachineID:
    """Return the machine ID given as itself, as text, or by a probe.

    Raises:
        CouldNotVerifyError: ``INVALID_INPUT`` for a mistyped text.
        MisuseError: for anything else.
    """
    if isinstance(machine, str):
        return _typed(machine)
    found = machine if isinstance(machine, MachineID) else getattr(machine, "machine_id", None)
    if isinstance(found, MachineID):
        return found
    msg = f"machine must be a machine ID, its text or a probe, not {type(machine).__name__}"
    raise MisuseError(msg)


def as_now(now: object) -> datetime:
    """Return the instant to check at, in UTC.

    Raises:
        MisuseError: for anything but an aware ``datetime`` of the years 1 to 9999 in UTC.
    """
    if isinstance(now, datetime) and now.tzinfo is not None:
        try:
            return now if now.tzinfo is UTC else now.astimezone(UTC)
        except (OverflowError, ValueError):  # another day in UTC, before the first or after the last there is
            pass
    msg = "now must be an aware datetime: datetime.now(UTC)"
    raise MisuseError(msg)


def _typed(text: str) -> MachineID:
    try:
        return MachineID.parse(text)
    except KeyseatError as error:
        # The caller's machine ID is at fault, not the licence: neither yes nor no.
        raise CouldNotVerifyError(
            ReasonCode.INVALID_INPUT, error.message, details=error.details, next_step=error.next_step
        ) from None
