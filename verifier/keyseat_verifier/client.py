"""The client a program embeds: finds the licence files, and says what entitles it to run, or why nothing does."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, TrustError, VerificationError
from keyseat_shared.instants import format_instant, now_utc
from keyseat_shared.trust import TrustBundle
from keyseat_verifier import resolver
from keyseat_verifier.clock import INTERVAL, ClockGuard
from keyseat_verifier.entitlement import WARN_DAYS, Entitlement, NotEntitled, PassedOver
from keyseat_verifier.files import read_file
from keyseat_verifier.machine import probe_machine
from keyseat_verifier.paths import SESSIONS, TRUST, home_folder, shown
from keyseat_verifier.sessions import SlotLock, Slots, in_use, take_slot
from keyseat_verifier.status import FileVerdict, Status
from keyseat_verifier.store import Found, Stamp, Store, is_settled, stamp, unchanged
from keyseat_verifier.verified import VerifiedLicense
from keyseat_verifier.verifier import Machine, Verifier


class Session:
    """One session of a product on this machine. It holds its slot until ``release``, or the end of the process."""

    __slots__ = ("_slot", "entitlement")

    def __init__(self, entitlement: Entitlement, slot: SlotLock) -> None:
        """Keep the slot."""
        self.entitlement = entitlement
        self._slot = slot

    @property
    def number(self) -> int:
        """The slot's number, from 1, within its licence."""
        return self._slot.number

    @property
    def is_held(self) -> bool:
        """Whether this process holds the session: not after ``release``, and not in a forked child."""
        return self._slot.is_held

    def release(self) -> None:
        """Give the session back; a second call does nothing."""
        self._slot.release()


class _Looked(NamedTuple):
    """One look at the store: the files, their verdicts and the valid licences, the one to use first."""

    found: Found
    verdicts: tuple[resolver.Verdict, ...]
    valid: tuple[VerifiedLicense, ...]


class _Cached(NamedTuple):
    """An answer of ``check``, for whom, from when to when, and the stamps of the files it rests on."""

    entitlement: Entitlement
    user: int
    since: datetime
    until: datetime
    stamps: tuple[Stamp, ...]


class LicenseClient:
    """What a program asks whether it may run. Thread-safe and fork-safe; reads nothing until asked.

    Args:
        product: the product code of the program.
        trust: the bundle that the program pins; a newer one in the home folder is adopted if both sets of root keys
            have signed it.
        home: the home folder; by default ``KEYSEAT_HOME``, else ``.keyseat`` in the account's home.
        allow_example_keys: accept the public example keys, to try things out.
        machine: the machine ID to check for; by default this machine is probed when first needed.
        remember_time: keep the latest time seen, to notice a clock that was set back.

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
    ) -> None:
        """Keep what was given."""
        if not allow_example_keys:
            trust.refuse_example_keys()
        self.product = product
        self.home = home_folder(home)
        self._pinned = trust
        self._allow_example_keys = allow_example_keys
        self._machine = machine
        self._probed: tuple[int, Machine] | None = None
        self._store = Store(self.home)
        self._guard = ClockGuard(self.home) if remember_time else None
        self._cached: _Cached | None = None
        self._verifier: tuple[Stamp, Verifier, tuple[str, ...]] | None = None

    @property
    def license_folder(self) -> str:
        """Where licence files go; folders within are searched too."""
        return self._store.folder

    @property
    def trust(self) -> TrustBundle:
        """The bundle in use: the pinned one, or a newer one from the home folder."""
        return self._load_verifier()[0].trust

    def check(self, now: datetime | None = None) -> Entitlement:
        """Return what entitles the program to run at ``now`` (an aware instant; by default the present one).

        Repeated calls are cheap: while no file has changed, the answer of the last minute stands.

        Raises:
            NotEntitled: nothing does; ``reasons`` say why for each file, ``next_step`` what to do.
        """
        now = now_utc() if now is None else now
        cached = self._cached
        if (
            cached is not None
            and cached.since <= now < cached.until
            and cached.user == _user()
            and unchanged(cached.stamps)
        ):
            return cached.entitlement
        self._cached = None
        looked_at = time.time_ns()
        trust_stamp = stamp(os.path.join(self.home, TRUST))
        looked = self._look(now)
        entitlement = self._entitlement(looked, now)
        stamps = (*looked.found.stamps, trust_stamp)
        if is_settled(stamps, looked_at):
            until = min(entitlement.expires_at, now + INTERVAL)
            self._cached = _Cached(entitlement, _user(), now, until, stamps)
        return entitlement

    def status(self, now: datetime | None = None) -> Status:
        """Return everything about the product on this machine at ``now``: every file's verdict, coverage, sessions."""
        now = now_utc() if now is None else now
        looked = self._look(now)
        entitlement: Entitlement | None = None
        refusal: NotEntitled | None = None
        try:
            entitlement = self._entitlement(looked, now)
        except NotEntitled as error:
            refusal = error
        verifier, trust_warnings = self._load_verifier()
        until, gaps = resolver.coverage(looked.verdicts, now)
        warnings = list(trust_warnings if entitlement is None else entitlement.warnings)
        warnings += [f"{path}: {reason}" for path, reason in looked.found.problems]
        try:
            holders = in_use(os.path.join(self.home, SESSIONS), _slots(looked.valid))
        except OSError as error:
            holders = ()
            warnings.append(f"sessions in use are not known: {(error.strerror or 'unknown reason').lower()}")
        return Status(
            self.product,
            shown(self.license_folder),
            self._machine_text(verifier),
            verifier.trust.version,
            entitlement,
            refusal,
            tuple([_file_verdict(verdict) for verdict in looked.verdicts]),
            until,
            gaps,
            holders,
            tuple(warnings),
        )

    @contextmanager
    def session(self, now: datetime | None = None) -> Iterator[Session]:
        """Hold one session of the product for the time of a ``with`` block.

        Raises:
            NotEntitled: nothing entitles the program, or all sessions are in use (``SESSIONS_EXCEEDED``).
            KeyseatError: ``UNREADABLE`` where sessions cannot be counted because the home folder cannot be written.
        """
        session = self._open_session(now_utc() if now is None else now)
        try:
            yield session
        finally:
            session.release()

    def _open_session(self, now: datetime) -> Session:
        looked = self._look(now)
        entitlement = self._entitlement(looked, now)
        folder = os.path.join(self.home, SESSIONS)
        slots = _slots(looked.valid)
        try:
            slot = take_slot(folder, slots)
            holders = () if slot is not None else in_use(folder, slots)
        except OSError as error:
            raise KeyseatError(
                ReasonCode.UNREADABLE,
                f"sessions cannot be counted under {shown(folder)}: {(error.strerror or 'unknown reason').lower()}",
                next_step="Make that folder writable for this account, or set KEYSEAT_HOME to one that is.",
            ) from None
        if slot is None:
            raise _exceeded(self.product, entitlement, tuple([holder.pid for holder in holders]))
        return Session(entitlement, slot)

    def _look(self, now: datetime) -> _Looked:
        found = self._store.find()
        if not found.files:
            return _Looked(found, (), ())
        verifier, _ = self._load_verifier()
        machine = self._this_machine()
        verdicts = tuple([resolver.judge(path, verifier, machine, now) for path in found.files])
        return _Looked(found, verdicts, tuple(resolver.valid(verdicts)))

    def _entitlement(self, looked: _Looked, now: datetime) -> Entitlement:
        reasons = resolver.reasons(looked.verdicts)
        if not looked.valid:
            raise self._refusal(reasons, looked.found.problems)
        chosen = looked.valid[0]
        warnings = [*self._load_verifier()[1]]
        if self._guard is not None and self._guard.warning:
            warnings.append(self._guard.warning)
        days = chosen.days_left(now)
        if days <= WARN_DAYS:
            warnings.append(
                f"The offline licence ends at {format_instant(chosen.expires_at)}"
                f" ({days} day{'s' if days != 1 else ''} left). Arrange online activation before that."
            )
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
            tuple(reasons),
        )

    def _refusal(self, reasons: list[PassedOver], problems: tuple[tuple[str, str], ...]) -> NotEntitled:
        unreadable = [
            PassedOver(path, ReasonCode.UNREADABLE, reason, "Check the permissions of this folder.")
            for path, reason in problems
        ]
        online = "Activate online, or send the output of `keyseat machine-id` to Customer Success"
        place = shown(self.license_folder)
        if not reasons and not unreadable:
            return NotEntitled(
                ReasonCode.NO_LICENSE,
                f"there is no licence file for {self.product} in {place}",
                next_step=f"{online} and put the licence file you get into {place}.",
            )
        first = (reasons or unreadable)[0]
        count = len(reasons)
        files = f"{count} licence file{'s' if count != 1 else ''}" if count else "the licence folder"
        return NotEntitled(
            first.code,
            f"{files} looked at, and nothing entitles to {self.product}: {first.path}: {first.message}",
            [*reasons, *unreadable],
            next_step=first.next if "online" in first.next else f"{first.next} Or {online[0].lower()}{online[1:]}.",
        )

    def _this_machine(self) -> Machine:
        if self._machine is not None:
            return self._machine
        user = _user()
        if self._probed is None or self._probed[0] != user:  # the account is part of the machine ID
            instance = os.path.join(self.home, "instance-id")
            environ = {**os.environ, "KEYSEAT_HOME": self.home} if os.path.exists(instance) else None
            self._probed = (user, probe_machine(environ=environ))
        return self._probed[1]

    def _machine_text(self, verifier: Verifier) -> str | None:
        try:
            return verifier.known_machine(self._this_machine())[0] or None
        except VerificationError:
            return None

    def _load_verifier(self) -> tuple[Verifier, tuple[str, ...]]:
        """Return the verifier for the bundle in use, and warnings about a bundle that was not adopted."""
        path = os.path.join(self.home, TRUST)
        present = stamp(path)
        loaded = self._verifier
        if loaded is None or loaded[0] != present:
            trust, warnings = self._newest_trust(path)
            verifier = Verifier(trust, self.product, clock=self._guard, allow_example_keys=self._allow_example_keys)
            self._verifier = loaded = (present, verifier, warnings)
        return loaded[1], loaded[2]

    def _newest_trust(self, path: str) -> tuple[TrustBundle, tuple[str, ...]]:
        if not os.path.exists(path):
            return self._pinned, ()
        try:
            # By the update rule only: a bundle that somebody puts there cannot replace the pinned keys.
            newest = self._pinned.update(read_file(path), allow_example_keys=self._allow_example_keys)
        except TrustError as error:
            if error.code is ReasonCode.TRUST_ROLLBACK:
                return self._pinned, ()  # an older one that an earlier version of the program left there
            return self._pinned, (f"{shown(path)} was not adopted: {error.message}",)
        except VerificationError as error:
            return self._pinned, (f"{shown(path)} was not adopted: {error.message}",)
        return newest, ()


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _slots(valid: tuple[VerifiedLicense, ...]) -> tuple[Slots, ...]:
    return tuple([Slots(found.license_id, found.sessions) for found in valid])


def _file_verdict(verdict: resolver.Verdict) -> FileVerdict:
    reason = verdict.reason
    if reason is not None:
        return FileVerdict(verdict.path, reason.code, reason.message, reason.next, None)
    end = None if verdict.license is None else verdict.license.expires_at
    said = "valid" if end is None else f"valid until {format_instant(end)}"
    return FileVerdict(verdict.path, ReasonCode.OK, said, "", end)


def _exceeded(product: str, entitlement: Entitlement, pids: tuple[int, ...]) -> NotEntitled:
    named = ", ".join([str(pid) for pid in sorted(set(pids)) if pid])
    held = f", held by process {named}" if named else ""
    return NotEntitled(
        ReasonCode.SESSIONS_EXCEEDED,
        f"all {entitlement.sessions} sessions of {product} on this machine are in use{held}",
        next_step="End another session on this machine, or add a licence for more parallel sessions.",
    )
