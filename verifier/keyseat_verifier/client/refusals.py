"""Putting refusals together: one ``NotEntitled`` with every reason, and the most telling one first."""

from collections.abc import Iterable

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_verifier.client.entitlement import Entitlement, NotEntitled, PassedOver

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from keyseat_verifier.online.desk import OnlineRefusedError

_ASK = "send the output of `keyseat machine-id` to Customer Success"


def unreadable(problems: Iterable[tuple[str, str]]) -> list[PassedOver]:
    """Return folders that could not be looked into as reasons."""
    return [
        PassedOver(path, ReasonCode.UNREADABLE, reason, "Check the permissions of this folder.")
        for path, reason in problems
    ]


def offline_refusal(product: str, place: str, reasons: list[PassedOver], *, activate: str) -> NotEntitled:
    """Return the refusal where no server was asked; ``activate`` says how to get to one."""
    if not reasons:
        return NotEntitled(
            ReasonCode.NO_LICENSE,
            f"there is no licence file for {product} in {place}",
            next_step=f"{activate}, or {_ASK} and put the licence file you get into {place}.",
        )
    first = reasons[0]
    count = len([reason for reason in reasons if reason.path != place])
    files = f"{count} licence file{'s' if count != 1 else ''}" if count else "the licence folder"
    otherwise = f"{activate[0].lower()}{activate[1:]}, or {_ASK}"
    return NotEntitled(
        first.code,
        f"{files} looked at, and nothing entitles to {product}: {first.path}: {first.message}",
        reasons,
        next_step=first.next if "online" in first.next else f"{first.next} Or {otherwise}.",
    )


def online_refusal(offline: list[PassedOver], error: "OnlineRefusedError", *, place: str) -> NotEntitled:
    """Return the refusal where a server was asked last: what it says decides; the offline reasons stand before it.

    Where there are no files to give reasons, that is the reason: ``place`` is where one would be found.
    """
    count = len(offline)
    passed = f" ({count} licence file{'s do' if count != 1 else ' does'} not count either)" if count else ""
    if not offline:
        without = "A licence file is found there; without one the server decides."
        offline = [PassedOver(place, ReasonCode.NO_LICENSE, "there is no licence file", without)]
    refusal = NotEntitled(error.code, f"{error.message}{passed}", [*offline, *error.reasons], next_step=error.next_step)
    refusal.details["server"] = error.details
    return refusal


def exceeded(entitlement: Entitlement, pids: Iterable[int], online: "OnlineRefusedError | None") -> NotEntitled:
    """Return the refusal of a session where all slots of the offline licences are in use."""
    named = ", ".join([str(pid) for pid in sorted(set(pids)) if pid])
    held = f", held by process {named}" if named else ""
    return NotEntitled(
        ReasonCode.SESSIONS_EXCEEDED,
        f"all {entitlement.sessions} sessions of {entitlement.product} on this machine are in use{held}",
        () if online is None else online.reasons,
        next_step="End another session on this machine, or add a licence for more parallel sessions.",
    )


def uncounted(place: str, error: OSError) -> KeyseatError:
    """Return the refusal of a session that could not be counted."""
    return KeyseatError(
        ReasonCode.UNREADABLE,
        f"sessions cannot be counted under {place}: {(error.strerror or 'unknown reason').lower()}",
        next_step="Make that folder writable for this account, or set KEYSEAT_HOME to one that is. In a container"
        " with a read-only file system a temporary one at /dev/shm or /var/tmp will do.",
    )
