"""The verifier: one ordered list of steps, run to a value or an error (`verify`) or to a report (`explain`).

0. `envelope`: size and shape of the file; nothing of the payload is interpreted yet.
1. `signature`: every signature by a key of the bundle holds, and every required algorithm is there.
2. `format`: the signed payload type, then the signed payload, field by field.
3. `key`: the keys may sign licences and were valid at the time of issue.
4. `product`: in the catalogue, the one wanted, and of the right kind of seat.
5. `annual`, 6. `sunset`, 7. `expiry`: the vendor's rules, the same functions that the issuer applies.
8. `machine`: hardware, then user account.
9. `clock`: time has not run backwards, and the bundle is fresh where the policy wants that.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeAlias

from keyseat_shared import rules
from keyseat_shared.boundary import guarded
from keyseat_shared.codes import NEXT_STEPS, ReasonCode
from keyseat_shared.envelope import LICENSE_TYPE, TEST_LICENSE_TYPE, TYPE_NAMES, Envelope, pae
from keyseat_shared.errors import (
    InvalidLicenseError,
    KeyseatError,
    MalformedError,
    RuleError,
    TrustError,
    UntrustedError,
    VerificationError,
    as_verification_error,
)
from keyseat_shared.instants import CLOCK_TOLERANCE, now_utc, shifted
from keyseat_shared.machine_id import MachineID
from keyseat_shared.payloads import LeasePayload, LicensePayload, MachineTestPayload
from keyseat_shared.policy import NAMED, OFFLINE
from keyseat_shared.trust import LICENSE, TrustBundle, TrustedKey
from keyseat_verifier.verify.given import as_bytes, as_machine, as_now
from keyseat_verifier.verify.verified import (
    Report,
    VerifiedLicense,
    VerifiedTestLicense,
    verified_license,
    verified_test_license,
)

TYPE_CHECKING = False  # as in `keyseat_verifier`: the probe is the caller's affair, not loaded from here
if TYPE_CHECKING:
    from keyseat_verifier.machine import MachineProbe


class Clock(Protocol):
    """What the verifier asks of a clock guard (``keyseat_verifier.client.clock.ClockGuard`` is one)."""

    def check(
        self,
        now: datetime,
        machine_id: str,
        *,
        signed: datetime,
        expires_at: datetime | None = None,
        fresh: datetime | None = None,
    ) -> None:
        """Raise ``ClockError`` where ``now`` lies before what is known of the time on this machine; else remember it.

        Raise ``RuleError`` (``EXPIRED``) where the known time has reached ``expires_at``. ``signed`` is the latest
        signed instant at hand, ``fresh`` one that a server has signed just now.
        """

    def saw(self, at: datetime, machine_id: str) -> None:
        """Remember that the clock has reached ``at``."""


class Run:
    """One verification under way: what was given, and what the steps have found so far."""

    __slots__ = ("data", "envelope", "facts", "license", "machine", "now", "signers", "test", "verifier")
    envelope: Envelope
    signers: list[TrustedKey]
    facts: LicensePayload | MachineTestPayload | LeasePayload
    license: LicensePayload  # `facts` of a licence
    test: MachineTestPayload  # `facts` of a test licence

    def __init__(self, verifier: "Verifier", data: bytes, machine: "Machine", now: datetime) -> None:
        self.verifier = verifier
        self.data = data
        self.machine = machine
        self.now = now


Data: TypeAlias = bytes | bytearray | memoryview
"""The bytes of a file."""
Machine: TypeAlias = "MachineID | str | MachineProbe"
"""A machine ID, its text, or a probe of this machine."""
Step: TypeAlias = Callable[[Run], None]


class Verifier:
    """Verifies files against one trust bundle, for one product or any in its catalogue. Thread-safe.

    Args:
        trust: the bundle that the program pins.
        product: the product code wanted; ``None`` accepts every product of the catalogue.
        clock: a clock guard that remembers the latest instant seen; without one only signed instants count.
        allow_example_keys: accept a bundle with the public keys of ``keys.example``.

    Raises:
        TrustError: ``EXAMPLE_KEY``.
    """

    __slots__ = ("_keys", "_known_machine", "clock", "product", "trust")

    def __init__(
        self,
        trust: TrustBundle,
        product: str | None = None,
        *,
        clock: Clock | None = None,
        allow_example_keys: bool = False,
    ) -> None:
        if not allow_example_keys:
            trust.refuse_example_keys()
        self.trust = trust
        self.product = product
        self.clock = clock
        self._keys = {trusted.key.keyid: trusted for trusted in trust.keys}
        self._known_machine: tuple[object, str, MachineID] = (object(), "", MachineID({}))

    @guarded(as_verification_error)
    def verify(self, data: Data, *, machine: Machine, now: datetime | None = None) -> VerifiedLicense:
        """Return the licence in ``data`` if it is valid for this machine and user at ``now``.

        Args:
            data: the bytes of the file, at most 64 KiB.
            machine: the machine ID to check against, its text, or a probe of this machine.
            now: an aware instant; the present one where it is not given.

        Raises:
            InvalidLicenseError: the licence is not valid here.
            CouldNotVerifyError: the check could not be made.
        """
        run = self._start(data, machine, now)
        _go(STEPS, run)
        return verified_license(run.license, tuple(run.signers))

    @guarded(as_verification_error)
    def verify_test(self, data: Data, *, machine: Machine, now: datetime | None = None) -> VerifiedTestLicense:
        """Return the test licence in ``data`` if it is for this machine and user, as ``verify`` does for licences.

        Raises:
            InvalidLicenseError: it is not for this machine and user, not a test licence, or has ended.
            CouldNotVerifyError: the check could not be made.
        """
        run = self._start(data, machine, now)
        _go(TEST_STEPS, run)
        return verified_test_license(run.test, tuple(run.signers))

    @guarded(as_verification_error)
    def explain(self, data: Data, *, machine: Machine, now: datetime | None = None) -> Report:
        """Run the steps of ``verify`` and return what each said, also after a refusal."""
        from keyseat_verifier.verify.report import report  # late: `verify` never pays for words

        run = self._start(data, machine, now)
        return report(STEPS, run, lambda: verified_license(run.license, tuple(run.signers)))

    @guarded(as_verification_error)
    def explain_test(self, data: Data, *, machine: Machine, now: datetime | None = None) -> Report:
        """Run the steps of ``verify_test`` and return what each said, also after a refusal."""
        from keyseat_verifier.verify.report import report

        run = self._start(data, machine, now)
        return report(TEST_STEPS, run, lambda: verified_test_license(run.test, tuple(run.signers)))

    def _start(self, data: Data, machine: Machine, now: datetime | None) -> Run:
        if type(data) is not bytes:
            data = as_bytes(data)
        return Run(self, data, machine, now_utc() if now is None else as_now(now))

    @guarded(as_verification_error)
    def known_machine(self, machine: Machine) -> tuple[str, MachineID]:
        """Return the canonical text of a machine given in any form, and its value.

        The last machine is remembered: a program verifies for one machine, and decoding costs as much as
        all other checks together. The text of a probe without evidence is empty.

        Raises:
            CouldNotVerifyError: ``INVALID_INPUT`` for a mistyped text.
        """
        known = self._known_machine
        if known[0] is machine:
            return known[1], known[2]
        value = as_machine(machine)
        text = str(value) if value.is_printable else ""
        self._known_machine = (machine, text, value)
        return text, value

    def key(self, keyid: str) -> TrustedKey | None:
        """Return the bundle's key with this id, or ``None``."""
        return self._keys.get(keyid)


def _go(steps: tuple[tuple[str, Step], ...], run: Run) -> None:
    name = ""
    try:
        for name, step in steps:  # noqa: B007 - the handler reads it
            step(run)
    except VerificationError as error:
        error.step = name
        raise


def open_envelope(run: Run) -> None:
    """Step: size and shape of the file."""
    run.envelope = Envelope.from_bytes(run.data)


def check_signatures(run: Run) -> None:
    """Step: every signature by a key of the bundle holds, and every required algorithm is there."""
    payload_type, payload, signatures = run.envelope
    message = pae(payload_type, payload)
    signers: list[TrustedKey] = []
    for keyid, sig in signatures:
        trusted = run.verifier.key(keyid)
        # A signature by an unknown key says nothing, good or bad: others may sign along for their own ends.
        if trusted is None:
            continue
        if not _holds(trusted, sig, message):
            raise UntrustedError(
                ReasonCode.BAD_SIGNATURE, f"the signature by key {trusted.key.keyid} does not fit the content"
            )
        # Once, however often it signs; the bundle has checked that no key has two ids.
        if trusted not in signers:
            signers.append(trusted)
    if not signers:
        named = ", ".join([ascii(keyid[:40]) for keyid, _ in signatures])
        raise UntrustedError(
            ReasonCode.UNKNOWN_KEY,
            f"no key of the trust bundle has signed the file (it names {named})",
            details={"bundle_version": run.verifier.trust.version},
        )
    _require_algorithms(run, signers)
    run.signers = signers


def _holds(trusted: TrustedKey, sig: bytes, message: bytes) -> bool:
    try:
        return trusted.key.verifies(sig, message)
    except TrustError as error:  # the key itself cannot be used (mixed order, no such algorithm): neither yes nor no
        raise as_verification_error(error) from None


def _require_algorithms(run: Run, signers: list[TrustedKey]) -> None:
    for algorithm in run.verifier.trust.signatures_required:
        for trusted in signers:
            if trusted.key.algorithm == algorithm:
                break
        else:
            raise UntrustedError(
                ReasonCode.MISSING_SIGNATURE,
                f"the trust bundle requires an {algorithm} signature, and the file has none",
                details={"required": list(run.verifier.trust.signatures_required)},
            )


def _format(run: Run) -> None:
    kind = run.envelope.payload_type
    # Domain separation: the type is signed, so a lease or bundle can never be read as a licence.
    if kind != LICENSE_TYPE:
        if kind == TEST_LICENSE_TYPE:
            raise InvalidLicenseError(ReasonCode.TEST_LICENSE, "the file is a test licence, which entitles to nothing")
        raise other_type(kind, "a licence")
    run.facts = run.license = LicensePayload.from_bytes(run.envelope.payload)


def _test_format(run: Run) -> None:
    kind = run.envelope.payload_type
    if kind != TEST_LICENSE_TYPE:
        raise other_type(kind, "a test licence")
    run.facts = run.test = MachineTestPayload.from_bytes(run.envelope.payload)


def other_type(kind: str, wanted: str) -> MalformedError:
    """Return the refusal of a file that is of another signed type than the one wanted."""
    found = TYPE_NAMES.get(kind)
    message = f"{found} is not {wanted}" if found else f"the file is of type {kind[:80]!a}, not {wanted}"
    return MalformedError(ReasonCode.UNSUPPORTED_FORMAT, message, details={"payload_type": kind})


def keep_signers(run: Run, purpose: str = LICENSE) -> None:
    """Step: keep the signers that may sign for ``purpose``, and require each algorithm among them.

    A compromised, foreign or lapsed key counts for nothing; it does not spoil what a good key has signed.
    """
    refused: UntrustedError | None = None
    counting: list[TrustedKey] = []
    for trusted in run.signers:
        try:
            trusted.check_may_sign(purpose, run.facts.issued_at)
        except UntrustedError as error:
            refused = refused or error
        else:
            counting.append(trusted)
    if refused is not None:
        have = {trusted.key.algorithm for trusted in counting}
        if not have.issuperset(run.verifier.trust.signatures_required):
            raise refused
        run.signers = counting


def _product(run: Run) -> None:
    code, user, sessions = run.license.product, run.license.user, run.license.sessions
    require_product(run)
    if run.verifier.trust.policy.products[code].seats == NAMED:
        if user is None or sessions != 1:
            raise MalformedError(
                ReasonCode.MALFORMED, f"a {code} licence is for one named user and one session, and this one is not"
            )
    elif user is not None:
        raise MalformedError(ReasonCode.MALFORMED, f"a {code} licence is for no particular user, and this one is")


def require_product(run: Run) -> None:
    """Step: the product is in the catalogue, and the one wanted."""
    verifier, code = run.verifier, run.facts.product
    if code not in verifier.trust.policy.products:
        raise InvalidLicenseError(
            ReasonCode.WRONG_PRODUCT,
            f"the vendor's catalogue has no product {code}",
            details={"product": code, "catalogue": sorted(verifier.trust.policy.products)},
        )
    if verifier.product is not None and code != verifier.product:
        raise InvalidLicenseError(
            ReasonCode.WRONG_PRODUCT,
            f"a {code} licence cannot be used for {verifier.product}",
            details={"product": code, "wanted": verifier.product},
        )


def _annual(run: Run) -> None:
    rules.check_annual(run.license.term, run.license.starts_at, run.license.ends_at, run.verifier.trust.policy)


def _sunset(run: Run) -> None:
    rules.check_sunset(run.license.issued_at, run.verifier.trust.policy)


def _expiry(run: Run) -> None:
    found = run.license
    rules.check_expiry_bounds(found.expires_at, found.issued_at, found.ends_at)
    try:
        rules.check_current(found.starts_at, found.expires_at, run.now)
    except RuleError as error:
        # Once seen to be over, a licence stays over: setting the clock back must not bring it to life again.
        if error.code is ReasonCode.EXPIRED and run.verifier.clock is not None:
            run.verifier.clock.saw(found.expires_at, found.machine_id)
        raise


def _test_expiry(run: Run) -> None:
    rules.check_current(shifted(run.test.issued_at, -CLOCK_TOLERANCE), run.test.expires_at, run.now)


def _machine(run: Run) -> None:
    rules.check_evidence(match_machine(run).instance_source, run.verifier.trust.policy)


def match_machine(run: Run) -> MachineID:
    """Step: the file is for this machine and user account; returns the machine ID in it."""
    text, probed = run.verifier.known_machine(run.machine)
    enrolled = probed
    if run.facts.machine_id != text:
        enrolled = _enrolled_machine(run.facts.machine_id)
        from keyseat_shared.matching import require_match  # late: the usual case is equality

        require_match(enrolled, probed)
    return enrolled


def _enrolled_machine(text: str) -> MachineID:
    try:
        return MachineID.parse_canonical(text)
    except KeyseatError as error:
        words = "the licence's machine ID is not usable"
        raise MalformedError(error.code, words, details=error.details, next_step=NEXT_STEPS[error.code]) from None


def _clock(run: Run) -> None:
    rules.check_not_before_floor(run.now, run.verifier.trust.issued_at, "the trust bundle")
    rules.check_not_before_floor(run.now, run.facts.issued_at, "the licence file")
    if run.verifier.clock is not None:
        signed = max(run.verifier.trust.issued_at, run.facts.issued_at)
        run.verifier.clock.check(run.now, run.facts.machine_id, signed=signed, expires_at=run.facts.expires_at)
    if run.verifier.trust.fresh_until is not None:
        rules.check_fresh(run.verifier.trust, OFFLINE, run.now)


STEPS: tuple[tuple[str, Step], ...] = (
    ("envelope", open_envelope),
    ("signature", check_signatures),
    ("format", _format),
    ("key", keep_signers),
    ("product", _product),
    ("annual", _annual),
    ("sunset", _sunset),
    ("expiry", _expiry),
    ("machine", _machine),
    ("clock", _clock),
)
"""The steps of ``verify``, in the order of docs/spec/license-file.md, section 10."""

TEST_STEPS: tuple[tuple[str, Step], ...] = (
    ("envelope", open_envelope),
    ("signature", check_signatures),
    ("format", _test_format),
    ("key", keep_signers),
    ("product", require_product),
    ("expiry", _test_expiry),
    ("machine", _machine),
    ("clock", _clock),
)
"""The steps of ``verify_test``: a test licence has no subscription behind it."""
