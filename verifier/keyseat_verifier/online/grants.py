"""Leases from the server: which one is configured, asking it, verifying what it answers, and newer trust bundles."""

import os
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, TrustError, VerificationError
from keyseat_shared.instants import now_utc
from keyseat_shared.policy import NAMED, ONLINE
from keyseat_shared.rules import check_fresh
from keyseat_verifier._internal.paths import SERVER, shown
from keyseat_verifier.online import config, machine
from keyseat_verifier.online.api import Granted, ProblemError, ServerApi
from keyseat_verifier.online.config import ServerConfig
from keyseat_verifier.online.credentials import Credentials
from keyseat_verifier.online.earlier import earlier_leases, give_back_earlier, outlived_leases
from keyseat_verifier.online.leases import LeaseStore, StoredLease
from keyseat_verifier.online.transport import Deadline, Transport
from keyseat_verifier.verify.lease import verify_lease
from keyseat_verifier.verify.verified import VerifiedLease
from keyseat_verifier.verify.verifier import Machine, Verifier

ACQUIRE_SECONDS = 10.0
"""Longest time ``check`` waits for the server where nothing else entitles."""
RENEW_SECONDS = 4.0
"""Longest time it waits where a lease still counts."""
_TRUST_SECONDS = 3.0
_TRUST_AGAIN = 30.0
"""Seconds after which a server is asked again for a newer bundle than the stale one that it had."""
_LOOK_AHEAD = 600.0
"""Seconds between looks for a newer bundle where ours will be stale before the lease ends."""
_MOST_STEPS = 32
"""Most versions of the trust bundle asked for in one go; the next look goes on from there."""
_KEYS_MAY_BE_NEWER = frozenset(
    {
        ReasonCode.UNKNOWN_KEY,
        ReasonCode.KEY_NOT_VALID,
        ReasonCode.KEY_COMPROMISED,
        ReasonCode.MISSING_SIGNATURE,
        ReasonCode.TRUST_STALE,
    }
)


class Grants:
    """Gets leases of one product for this machine. Callers see to it that one thread at a time acquires.

    Args:
        product: the product code.
        home: the home folder.
        verifier: gives the verifier for the trust bundle in use.
        probe: gives this machine.
        adopt_trust: keeps a newer trust bundle; raises ``TrustError`` for one that the update rule does not allow.
        environ: the environment with the settings.
        clock: tells the present instant to what runs in the background.
    """

    def __init__(
        self,
        product: str,
        home: str,
        verifier: Callable[[], Verifier],
        probe: Callable[[], Machine],
        adopt_trust: Callable[[bytes], object],
        *,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        self.product = product
        self.clock = clock
        self.store = LeaseStore(home, product)
        self.load_verifier = verifier
        self._home = home
        self._probe = probe
        self._adopt_trust = adopt_trust
        self._environ = environ
        self._servers: tuple[ServerConfig, ServerApi] | None = None
        self._idempotency = ""
        self._has_asked_trust = False
        self._trust_from = 0.0
        self._ahead_from = 0.0
        self._trust_trouble = ""
        self._spare_id = machine.new_id()
        self.unkept: StoredLease | None = None

    @property
    def is_named(self) -> bool:
        """Whether seats of the product are users'."""
        found = self.load_verifier().trust.policy.products.get(self.product)
        return found is not None and found.seats == NAMED

    def machine(self) -> Machine:
        """Return what identifies this machine online: the probe, or where it has no evidence an id of its own."""
        return machine.online_machine(self._probe(), self._home, self._spare_id)

    def machine_text(self) -> str:
        """Return the machine ID that the server is told."""
        return self.load_verifier().known_machine(self.machine())[0]

    def acquire(self, now: datetime, *, activated: bool, release_previous: bool) -> StoredLease:
        """Ask the server for a session, verify its lease and keep it.

        Raises:
            ProblemError: the server refuses.
            KeyseatError: there is nothing to ask it with, it cannot be reached, or its lease does not count.
        """
        api, server = self.require_server()
        deadline = Deadline(ACQUIRE_SECONDS)
        self._require_fresh(now)
        text = self.machine_text()
        nonce = _nonce()
        repeats = bool(self._idempotency)
        self._idempotency = self._idempotency or secrets.token_hex(16)
        give_back_earlier(api, self.store, self.earlier(now), deadline)
        try:
            granted = api.acquire(
                text,
                nonce,
                self._idempotency,
                deadline,
                organization=server.organization,
                release_previous=release_previous,
            )
        except ProblemError as error:
            if not error.is_passing:
                self._idempotency = ""
            # The request that got no answer had reached the server after all, and its session is over by now.
            if repeats and (error.is_gone or error.details.get("field") == "Idempotency-Key"):
                return self.acquire(now, activated=activated, release_previous=release_previous)
            raise _with_choices(error) from None
        # It is kept where no answer comes: if the request arrived, the next one gets its session and no second seat.
        self._idempotency = ""
        lease = self._verified(api, granted, nonce, now, granted.session_id, is_new=True)
        self._look_ahead(lease)
        stored = self.store.keep(lease, granted.unverified_lease, activated=activated)
        self.unkept = None if stored.path else stored
        return stored

    def earlier(self, now: datetime) -> list[StoredLease]:
        """Return the leases that lie here and count no more, although the server still keeps their seats.

        They are those given under the id that this machine had before it got an instance id, and those that the
        policy has ended.
        """
        verifier, probed = self.load_verifier(), self._probe()
        return [
            *earlier_leases(self.store, verifier, probed, self._home, now),
            *outlived_leases(self.store, verifier, self.machine(), now),
        ]

    def renew(self, kept: StoredLease, now: datetime, deadline: Deadline) -> StoredLease:
        """Get a new lease for a session and keep it.

        Raises:
            ProblemError: the server refuses; ``is_gone`` tells whether the session is over, ``is_unknown`` whether
                the server knows none such of who asks now.
            KeyseatError: the server cannot be reached, or its answer does not count.
        """
        api, _ = self.require_server()
        nonce = _nonce()
        text = self.machine_text()
        try:
            granted = api.renew(kept.lease.session_id, text, nonce, deadline)
        except ProblemError as error:
            raise _of_others(error, api.transport.url) if error.is_unknown else error from None
        lease = self._verified(api, granted, nonce, now, kept.lease.session_id)
        self._look_ahead(lease)
        renewed = self.store.keep(lease, granted.unverified_lease, activated=kept.is_activated)
        self.unkept = None if renewed.path else renewed
        return renewed

    def describe_server(self) -> tuple[str, str] | None:
        """Return the server's address and what it would be called with, or ``None``; for people.

        Raises:
            KeyseatError: the configuration is wrong.
        """
        found = self.server()
        return None if found is None else (found[1].url, found[0].credentials.describe())

    def api_or_none(self) -> ServerApi | None:
        """Return the server, or ``None`` where none is configured (rightly)."""
        try:
            found = self.server()
        except KeyseatError:
            return None
        return None if found is None else found[0]

    def require_server(self) -> tuple[ServerApi, ServerConfig]:
        """Return the server and its configuration.

        Raises:
            KeyseatError: ``SERVER_UNREACHABLE`` where none is named, ``INVALID_INPUT`` where it is named wrongly.
        """
        found = self.server()
        if found is None:
            raise KeyseatError(
                ReasonCode.SERVER_UNREACHABLE,
                "no licence server is named",
                details={"reason": "not configured"},
                next_step=f"Set KEYSEAT_SERVER to its address, or write {shown(os.path.join(self._home, SERVER))}:"
                ' {"url": "https://..."}.',
            )
        return found

    def server(self) -> tuple[ServerApi, ServerConfig] | None:
        """Return the server and its configuration, or ``None`` where no server is named.

        Raises:
            KeyseatError: the configuration is wrong.
        """
        wanted = config.load_config(self._home, self._environ)
        if wanted is None:
            return None
        known = self._servers
        if known is None or known[0] != wanted:
            transport = Transport(wanted.url, wanted.ca_bundle)
            credentials = Credentials(self._home, wanted, self._environ, transport)
            api = ServerApi(transport, credentials, self.product, self.clock, named=self.is_named)
            self._servers = known = (wanted, api)
        return known[1], known[0]

    def update_trust(self, deadline: Deadline) -> bool:
        """Adopt the server's trust bundle as far as the update rule allows it; tell whether ours is newer now.

        Keys that a server sends count for nothing by themselves: a bundle must be signed by the threshold of the
        root keys that the program pins, and of its own.
        """
        api, _ = self.require_server()
        before = self.load_verifier().trust
        self._trust_trouble = f"{api.transport.url} has none newer"
        try:
            newest = api.trust(deadline)
            if newest != before.data:
                self._follow(api, newest, deadline)
        except (KeyseatError, OSError) as error:
            self._trust_trouble = str(error)  # what was adopted on the way stays
        return self.load_verifier().trust.version > before.version

    def _follow(self, api: ServerApi, newest: bytes, deadline: Deadline) -> None:
        """Adopt a bundle, over versions in between where no root key that we know has signed it.

        The steps grow while they succeed: only those at which a root key changed have to be met.

        Raises:
            KeyseatError: no version offered leads any further.
            OSError: nothing can be kept.
        """
        leap = 1
        for _ in range(_MOST_STEPS):
            try:
                self._adopt_trust(newest)
            except TrustError as error:
                if error.code is not ReasonCode.TRUST_INVALID:
                    raise
            else:
                return
            version = self.load_verifier().trust.version + leap
            try:
                self._adopt_trust(api.trust(deadline, version))
                leap *= 2
            except (TrustError, ProblemError):
                if leap == 1:
                    raise
                leap //= 2

    def freshen(self, use: str, now: datetime) -> bool:
        """Tell whether the bundle in use may decide about ``use``; where it is stale, a newer one is taken up first."""
        if not self.load_verifier().trust.is_stale(use, now):
            return True
        if self.api_or_none() is None:
            return False
        if time.monotonic() >= self._trust_from:
            self.update_trust(Deadline(_TRUST_SECONDS))
            self._trust_from = time.monotonic() + _TRUST_AGAIN
        return not self.load_verifier().trust.is_stale(use, now)

    def _require_fresh(self, now: datetime) -> None:
        """Refuse to take a seat with a lease that could not be checked."""
        if not self.freshen(ONLINE, now):
            check_fresh(self.load_verifier().trust, ONLINE, now, f" ({self._trust_trouble})")

    def _look_ahead(self, lease: VerifiedLease) -> None:
        """Ask for a newer bundle while there is a server to ask, where ours will be stale before the lease ends."""
        if time.monotonic() >= self._ahead_from and self.load_verifier().trust.is_stale(ONLINE, lease.expires_at):
            self._ahead_from = time.monotonic() + _LOOK_AHEAD
            self._has_asked_trust = True
            self.update_trust(Deadline(_TRUST_SECONDS))

    def ask_trust_once(self) -> None:
        """Look for a newer trust bundle, once in the life of the process."""
        if not self._has_asked_trust:
            self._has_asked_trust = True
            self.update_trust(Deadline(_TRUST_SECONDS))

    def _verified(
        self, api: ServerApi, granted: Granted, nonce: str, now: datetime, session_id: str, *, is_new: bool = False
    ) -> VerifiedLease:
        """Verify an answer's lease, with newer keys of the vendor where it is signed by one that we do not know."""

        def verified() -> VerifiedLease:
            data, here = granted.unverified_lease, self.machine()
            return verify_lease(self.load_verifier(), data, machine=here, now=now, nonce=nonce, session_id=session_id)

        try:
            try:
                return verified()
            except VerificationError as error:
                if error.code not in _KEYS_MAY_BE_NEWER or not self.update_trust(Deadline(_TRUST_SECONDS)):
                    raise
                return verified()
        except VerificationError as error:
            if is_new:
                self._give_back(api, granted.session_id)
            raise _no_good(api.transport.url, error) from None

    def _give_back(self, api: ServerApi, session_id: str) -> None:
        try:
            api.release(session_id, Deadline(_TRUST_SECONDS))
        except KeyseatError:
            return  # it ends with its lease


def _with_choices(error: ProblemError) -> ProblemError:
    """Say how to name an organisation here, where the server lists several."""
    listed = error.details.get("organizations")
    if type(listed) is list:
        named = [f"{entry.get('name')} ({entry.get('id')})" for entry in listed if type(entry) is dict]
        error.next_step = f"Name one by its id in KEYSEAT_ORGANIZATION or with --organization: {', '.join(named)}."
    return error


def _of_others(error: ProblemError, url: str) -> ProblemError:
    """Say why a server may know nothing of a session whose lease lies here."""
    error.message = f"{url} knows no such session of who asks now: it was begun with other credentials, or elsewhere"
    error.next_step = (
        "Set the API key, or sign in as the user, that it was begun with. Otherwise it ends with its lease,"
        " and the next one is begun with what is set then."
    )
    return error


def _nonce() -> str:
    return secrets.token_urlsafe(24)


def _no_good(url: str, error: VerificationError) -> KeyseatError:
    """Return the refusal of a lease that the server sent and that does not count here."""
    step = error.next_step
    wrong_keys = _KEYS_MAY_BE_NEWER - {ReasonCode.TRUST_STALE}
    if error.code in {ReasonCode.BAD_SIGNATURE, ReasonCode.MALFORMED, *wrong_keys}:
        step = (
            "Check the server's address. If it is right, tell its operator; a newer version of this software may help."
        )
    return KeyseatError(
        error.code, f"the lease from {url} does not count: {error.message}", details=error.details, next_step=step
    )
