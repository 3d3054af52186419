"""The client a program embeds: finds the licence files, and says what entitles it to run, or why nothing does."""

import os
import time
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from keyseat_shared.boundary import guarded
from keyseat_shared.instants import now_utc
from keyseat_shared.policy import OFFLINE
from keyseat_shared.trust import TrustBundle
from keyseat_verifier._internal.paths import LEASES, SERVER, home_folder, scope_of, shown
from keyseat_verifier.client import refusals, resolver
from keyseat_verifier.client.answer import Answer, answer
from keyseat_verifier.client.clock import ClockGuard, keep_progress_at_exit
from keyseat_verifier.client.entitlement import Entitlement, NotEntitled, PassedOver, as_not_entitled, ends_soon
from keyseat_verifier.client.session import Session
from keyseat_verifier.client.slots import SlotLock, Slots, in_use, session_folders, take_slot
from keyseat_verifier.client.status import OnlineStatus, Status, file_verdict
from keyseat_verifier.client.store import Found, Stamp, Store, is_settled, stamp
from keyseat_verifier.client.this_machine import ThisMachine
from keyseat_verifier.client.trust_source import TrustSource
from keyseat_verifier.verify.given import as_now
from keyseat_verifier.verify.verified import VerifiedLicense
from keyseat_verifier.verify.verifier import Machine

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from keyseat_verifier.online.desk import Found as FoundLease
    from keyseat_verifier.online.desk import OnlineDesk, OnlineRefusedError, Released
    from keyseat_verifier.online.hold import Hold
    from keyseat_verifier.online.leases import StoredLease
    from keyseat_verifier.online.renewal import OnEnded, OnResumed


class _Looked(NamedTuple):
    """One look at the store: the files, their verdicts and the valid licences, the one to use first."""

    found: Found
    verdicts: tuple[resolver.Verdict, ...]
    valid: tuple[VerifiedLicense, ...]


class LicenseClient:
    """Tells a program whether it may run. Thread-safe and fork-safe; reads nothing until it is asked.

    Args:
        product: the product code of the program.
        trust: the bundle that the program pins; a newer one in the home folder is adopted if both sets of root keys
            have signed it.
        home: the home folder; by default ``KEYSEAT_HOME``, else ``.keyseat`` in the account's home.
        allow_example_keys: accept the public example keys, to try things out.
        machine: the machine ID to check for; by default this machine is probed when first needed.
        remember_time: keep the latest time seen, to notice a clock that was set back.
        server: the licence server's address; by default that of ``KEYSEAT_SERVER``, else of ``server.json``.
        online: whether leases and a server may entitle at all, where no licence file does.
        environ: the environment with the online settings; by default the process's own.
        clock: gives the present instant to calls without ``now`` and to background threads.

    Raises:
        TrustError: ``EXAMPLE_KEY``.
    """

    def __init__(
        self,
        product: str,
        trust: TrustBundle,
        *,
        home: str | os.PathLike[str] | None = None,
        allow_example_keys: bool = False,
        machine: "Machine | None" = None,
        remember_time: bool = True,
        server: str | None = None,
        online: bool = True,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        if not allow_example_keys:
            trust.refuse_example_keys()
        self.product = product
        self.home = home_folder(home)
        self._this = ThisMachine(machine, self.home)
        self._store = Store(self.home)
        self._guard = ClockGuard(self.home, scope=scope_of(trust)) if remember_time else None
        if self._guard is not None:
            keep_progress_at_exit(self._guard)
        self._cached: Answer | None = None
        self._trust = TrustSource(trust, self.home, product, clock=self._guard, allow_example_keys=allow_example_keys)
        environ = os.environ if environ is None else environ
        self._environ = environ if server is None else ChainMap({"KEYSEAT_SERVER": server}, environ)  # type: ignore[arg-type] # never written
        self._may_go_online = online
        self._clock = clock
        self._desks: dict[str, OnlineDesk] = {}

    @property
    def license_folder(self) -> str:
        """Where licence files go; folders within are searched too."""
        return self._store.folder

    @property
    @guarded()
    def trust(self) -> TrustBundle:
        """The bundle in use: the pinned one, or a newer one from the home folder."""
        return self._trust.verifier().trust

    @guarded(as_not_entitled)
    def check(self, now: datetime | None = None) -> Entitlement:
        """Return what entitles the program to run at ``now`` (an aware instant; by default the present one).

        Licence files come first, then a lease kept from before, then the server, if one is named. That takes ten
        seconds at most, also where the server does not answer. A floating session begun here is given back when the
        process ends.

        Repeated calls are cheap: while no file has changed, the answer of the last minute stands.

        Raises:
            NotEntitled: nothing does; ``reasons`` say why for each file, ``next_step`` what to do.
        """
        now = self._now(now)
        cached = self._cached
        if cached is not None and cached.stands(now):
            return cached.entitlement
        self._cached = None
        looked_at = time.time_ns()
        trust_stamp = stamp(self._trust.path)
        looked = self._look(now)
        if looked.valid:
            entitlement = self._offline(looked, now)
            until = entitlement.expires_at
            stamps = (*looked.found.stamps, trust_stamp)
        else:
            entitlement, until, more = self._online(looked, now)
            stamps = (*looked.found.stamps, *more, trust_stamp)
        if is_settled(stamps, looked_at):
            self._cached = answer(entitlement, now, until, stamps)
        return entitlement

    @guarded()
    def status(self, now: datetime | None = None) -> Status:
        """Return everything about the product on this machine at ``now``: verdicts, coverage, leases, sessions.

        No server is asked.
        """
        now = self._now(now)
        looked = self._look(now, ask=False)
        entitlement: Entitlement | None = None
        refusal: NotEntitled | None = None
        online, leases = self._online_status(now)
        try:
            if looked.valid:
                entitlement = self._offline(looked, now)
            elif leases:
                entitlement = self._by_lease(leases[0], looked)
            else:
                raise self._refusal(looked)
        except NotEntitled as error:
            refusal = error
        verifier, trust_warnings = self._trust.load()
        until, gaps = resolver.coverage(looked.verdicts, now)
        warnings = list(trust_warnings if entitlement is None else entitlement.warnings)
        warnings += [f"{path}: {reason}" for path, reason in looked.found.problems]
        try:
            holders = in_use(session_folders(self.home), _slots(looked.valid))
        except OSError as error:
            holders = ()
            warnings.append(f"sessions in use are not known: {(error.strerror or 'unknown reason').lower()}")
        return Status(
            self.product,
            shown(self.license_folder),
            self._this.text(verifier),
            verifier.trust.version,
            entitlement,
            refusal,
            tuple([file_verdict(verdict) for verdict in looked.verdicts]),
            until,
            gaps,
            holders,
            tuple(warnings),
            online,
        )

    @guarded(as_not_entitled)
    def activate(self, now: datetime | None = None, *, release_previous: bool = False) -> Entitlement:
        """Activate online: get a lease that stays on this machine until ``release``. A licence file goes first.

        Args:
            now: an aware instant; by default the present one.
            release_previous: end the sessions that this user or API key has on this machine first.

        Raises:
            NotEntitled: the server refuses or cannot be reached; ``next_step`` says what to do.
        """
        now = self._now(now)
        looked = self._look(now)
        if looked.valid:
            return self._offline(looked, now)
        from keyseat_verifier.online.desk import OnlineRefusedError  # late: offline needs none of it

        self._cached = None
        try:
            found = self._desk().activate(now, release_previous=release_previous)
        except OnlineRefusedError as error:
            raise self._asked_refusal(looked, error) from None
        return self._by_lease(found, looked)

    @guarded()
    def release(self, now: datetime | None = None, *, previous: bool = False) -> "Released":
        """Give back the online sessions kept on this machine, except those that a running program holds.

        Args:
            now: an aware instant; by default the present one.
            previous: end all sessions that this user or API key has on this machine, also those of killed programs.

        Raises:
            KeyseatError: the server cannot be asked.
        """
        self._cached = None
        return self._desk().release(self._now(now), previous=previous)

    @contextmanager
    def session(
        self,
        now: datetime | None = None,
        *,
        release_previous: bool = False,
        on_ended: "OnEnded | None" = None,
        on_resumed: "OnResumed | None" = None,
    ) -> Iterator[Session]:
        """Hold one session of the product for the time of a ``with`` block.

        A session of a licence file is a slot on this machine; an online one is renewed in the background, and given
        back also at exit and on SIGTERM (where the program has no handler of its own).

        Args:
            now: an aware instant; by default the present one.
            release_previous: online: end the sessions that this user or API key has on this machine first.
            on_ended: called with a ``SessionEnd`` when an online session ends before its block does.
            on_resumed: called with the new lease when it goes on by itself after an outage.

        Raises:
            NotEntitled: nothing entitles the program, or all sessions are in use (``SESSIONS_EXCEEDED``).
            KeyseatError: ``UNREADABLE`` where sessions cannot be counted because the home folder cannot be written.
        """
        session = self._open_session(now, release_previous=release_previous, on_ended=on_ended, on_resumed=on_resumed)
        try:
            yield session
        finally:
            session.release()
            if self._guard is not None:
                self._guard.keep_progress()

    @guarded()
    def _open_session(
        self,
        now: datetime | None,
        *,
        release_previous: bool,
        on_ended: "OnEnded | None",
        on_resumed: "OnResumed | None",
    ) -> Session:
        now = self._now(now)
        looked = self._look(now)
        if looked.valid:
            entitlement = self._offline(looked, now)
            slot, holders = self._take_slot(looked)
            if slot is not None:
                return Session(entitlement, slot)
            if not self._is_online():
                raise refusals.exceeded(entitlement, holders, None)
        elif not self._is_online():
            raise self._refusal(looked)
        from keyseat_verifier.online.desk import OnlineRefusedError  # late: offline needs none of it

        try:
            hold = self._desk().open(now, release_previous=release_previous)
        except OnlineRefusedError as error:
            if looked.valid:
                raise refusals.exceeded(entitlement, holders, error) from None
            raise self._online_refusal(looked, error) from None
        return self._online_session(hold, looked, on_ended, on_resumed)

    def _take_slot(self, looked: _Looked) -> tuple[SlotLock | None, tuple[int, ...]]:
        """Take a free slot of the valid licences; without one, return who holds them."""
        folders = session_folders(self.home)
        slots = _slots(looked.valid)
        try:
            slot = take_slot(folders, slots)
            return slot, () if slot is not None else tuple([holder.pid for holder in in_use(folders, slots)])
        except OSError as error:
            raise refusals.uncounted(shown(folders[-1]), error) from None

    def _online_session(
        self, hold: "Hold", looked: _Looked, on_ended: "OnEnded | None", on_resumed: "OnResumed | None"
    ) -> Session:
        from keyseat_verifier.online.desk import Found as FoundLease  # late: offline needs none of it
        from keyseat_verifier.online.renewal import Renewal

        if not hold.keeps:
            hold.guard(on_sigterm=True)
        renewal = Renewal(self._desk(), hold, on_ended=on_ended, on_resumed=on_resumed)
        renewal.start()

        def entitlement() -> Entitlement:
            return self._by_lease(FoundLease(hold.stored, "lease", renewal.warnings), looked)

        return Session(entitlement(), hold, lease=entitlement, renewal=renewal)

    def _now(self, now: datetime | None) -> datetime:
        return self._clock() if now is None else as_now(now)

    def _look(self, now: datetime, *, ask: bool = True) -> _Looked:
        """Look at the licence files; with ``ask``, take up a newer bundle from the server where ours is too old."""
        found = self._store.find()
        if not found.files:
            return _Looked(found, (), ())
        machine = self._this.machine()
        verdicts = resolver.judge_all(found.files, self._trust.verifier(), machine, now)
        ask = ask and resolver.is_undecided(verdicts) and self._is_server_named()
        if ask and self._desk().grants.freshen(OFFLINE, now):
            verdicts = resolver.judge_all(found.files, self._trust.verifier(), machine, now)
        return _Looked(found, verdicts, tuple(resolver.valid(verdicts)))

    def _offline(self, looked: _Looked, now: datetime) -> Entitlement:
        """Return what the valid licence files entitle to."""
        chosen = looked.valid[0]
        warnings = [*self._trust.load()[1]]
        if self._guard is not None and self._guard.warning:
            warnings.append(self._guard.warning)
        warnings += ends_soon(chosen.expires_at, chosen.days_left(now), self.trust, now)
        return Entitlement(
            "offline",
            chosen.product,
            chosen.organization_name,
            chosen.user,
            chosen.expires_at,
            sum([found.sessions for found in looked.valid]),
            chosen.license_id,
            chosen.features,
            tuple(warnings),
            tuple(resolver.reasons(looked.verdicts)),
        )

    def _online(self, looked: _Looked, now: datetime) -> tuple[Entitlement, datetime, tuple[Stamp, ...]]:
        """Return what a lease entitles to, until when that needs no second look, and the stamp of its file."""
        if not self._is_online():
            raise self._refusal(looked)
        from keyseat_verifier.online.desk import OnlineRefusedError  # late: offline needs none of it

        try:
            found = self._desk().entitle(now)
        except OnlineRefusedError as error:
            raise self._online_refusal(looked, error) from None
        lease = found.lease
        until = lease.renew_after if now < lease.renew_after else lease.expires_at
        path = found.stored.path
        return self._by_lease(found, looked), until, (stamp(path),) if path else ()

    def _by_lease(self, found: "FoundLease | StoredLease", looked: _Looked) -> Entitlement:
        lease = found.lease
        return Entitlement(
            getattr(found, "source", "lease"),
            lease.product,
            lease.organization_name,
            lease.user,
            lease.expires_at,
            1,
            lease.session_id,
            (),
            (*self._trust.load()[1], *getattr(found, "warnings", ())),
            (*self._reasons(looked), *getattr(found, "passed_over", ())),
        )

    def _reasons(self, looked: _Looked) -> list[PassedOver]:
        return [*resolver.reasons(looked.verdicts), *refusals.unreadable(looked.found.problems)]

    def _refusal(self, looked: _Looked, more: tuple[PassedOver, ...] = ()) -> NotEntitled:
        named = self._is_server_named()
        activate = f"Activate online (`keyseat activate --product {self.product}`)" if named else "Activate online"
        return refusals.offline_refusal(
            self.product, shown(self.license_folder), [*self._reasons(looked), *more], activate=activate
        )

    def _online_refusal(self, looked: _Looked, error: "OnlineRefusedError") -> NotEntitled:
        return self._asked_refusal(looked, error) if error.is_asked else self._refusal(looked, error.reasons)

    def _asked_refusal(self, looked: _Looked, error: "OnlineRefusedError") -> NotEntitled:
        return refusals.online_refusal(self._reasons(looked), error, place=shown(self.license_folder))

    def _is_server_named(self) -> bool:
        named = bool(self._environ.get("KEYSEAT_SERVER")) or os.path.exists(os.path.join(self.home, SERVER))
        return named and self._may_go_online

    def _is_online(self) -> bool:
        """Tell whether anything online may entitle: a server is named, or leases lie there."""
        kept = self._may_go_online and os.path.isdir(os.path.join(self.home, LEASES))
        return kept or self._is_server_named()

    def _desk(self) -> "OnlineDesk":
        found = self._desks.get("")
        if found is None:
            from keyseat_verifier.online.desk import OnlineDesk  # late: offline needs none of it
            from keyseat_verifier.online.grants import Grants

            grants = Grants(
                self.product,
                self.home,
                self._trust.verifier,
                self._this.machine,
                self._trust.adopt,
                environ=self._environ,
                clock=self._clock,
            )
            # One desk for all threads: it holds the sessions.
            found = self._desks.setdefault("", OnlineDesk(grants, self.home))
        return found

    def _online_status(self, now: datetime) -> "tuple[OnlineStatus | None, list[StoredLease]]":
        if not self._is_online():
            return None, []
        from keyseat_verifier.online.report import online_status  # late: offline needs none of it

        return online_status(self._desk(), now)


def _slots(valid: tuple[VerifiedLicense, ...]) -> tuple[Slots, ...]:
    return tuple([Slots(found.license_id, found.sessions) for found in valid])
