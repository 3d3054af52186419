"""One session of a product on this machine, as a program holds it: offline a local slot, online a renewed lease."""

from keyseat_verifier.client.entitlement import Entitlement

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from collections.abc import Callable

    from keyseat_verifier.client.slots import SlotLock
    from keyseat_verifier.online.hold import Hold
    from keyseat_verifier.online.renewal import Renewal, SessionEnd


class Session:
    """A session held until ``release``, or the end of the process. Thread-safe; a forked child does not hold it.

    An online session is renewed in the background. It can end before ``release``: the server ended it, or was away for
    longer than the lease lasts; ``ended`` says why.
    """

    __slots__ = ("_entitlement", "_holder", "_lease", "_renewal")

    def __init__(
        self,
        entitlement: Entitlement,
        holder: "SlotLock | Hold",
        *,
        lease: "Callable[[], Entitlement] | None" = None,
        renewal: "Renewal | None" = None,
    ) -> None:
        """Keep what holds it; ``lease`` gives the entitlement by the newest lease of an online session."""
        self._entitlement = entitlement
        self._holder = holder
        self._lease = lease
        self._renewal = renewal

    @property
    def entitlement(self) -> Entitlement:
        """What entitles; for an online session with the end of its newest lease."""
        return self._entitlement if self._lease is None else self._lease()

    @property
    def number(self) -> int:
        """The session's number on this machine, from 1, within its licence."""
        return self._holder.number

    @property
    def is_held(self) -> bool:
        """Whether this process holds the session: not after ``release`` or its end, and not in a forked child."""
        return self._holder.is_held and self.ended is None

    @property
    def ended(self) -> "SessionEnd | None":
        """Why an online session has ended before ``release``; ``None`` while it goes on."""
        return None if self._renewal is None else self._renewal.ended

    def release(self) -> None:
        """Give the session back; a second call does nothing."""
        if self._renewal is not None:
            self._renewal.stop()
        self._holder.release()
