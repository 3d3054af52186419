"""Test licences: a signed file that tells a machine "this is you", before anything irreversible. It takes no seat."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.audit.clock_correction import latest
from keyseat_issuer.ledger.customers import organizations
from keyseat_issuer.ledger.offline.drafts import unverifiable
from keyseat_issuer.ledger.offline.rules import require_product
from keyseat_issuer.ledger.offline.values import Terms
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared import rules
from keyseat_shared.envelope import TEST_LICENSE_TYPE
from keyseat_shared.errors import VerificationError
from keyseat_shared.evidence import Grade
from keyseat_shared.machine_id import MachineID
from keyseat_shared.payloads import MachineTestPayload
from keyseat_verifier.verify.verifier import Verifier

TESTED = "offline.tested"
VALID_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class TestLicense:
    """A test licence that was made; ``file`` is its exact bytes, ``expires_at`` exclusive."""

    # Not a test: pytest collects classes by this beginning.
    __test__ = False

    test_id: UUID
    organization: str
    product: str
    machine_id: str
    grade: Grade
    grade_reasons: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    file: bytes


def make_test_license(organization: str, product: str, machine_id: str, terms: Terms) -> TestLicense:
    """Make a test licence, valid for 7 days. A weak machine ID is accepted: the test is there to show it.

    Args:
        organization: its name, ``ACCOUNT/NAME`` or id.
        product: a code of the catalogue.
        machine_id: as it was typed.
        terms: trust bundle, actor and instant, with a signer.

    Raises:
        KeyseatError: ``ISSUED_AFTER_SUNSET`` (nothing can be issued that this would test for), ``NOT_FOUND``,
            ``MALFORMED``, ``MACHINE_WEAK`` where the policy forbids the evidence, ``CLOCK_ROLLED_BACK``.
    """
    if terms.signer is None:
        msg = "a test licence needs a signer"
        raise ValueError(msg)
    policy = terms.trust.policy
    subject = f"{product[:40]} on {machine_id[:90]}"
    with log.act(TESTED, actor=terms.actor, organization=None, subject=subject, now=terms.now) as ledger_now:
        at = ledger_now.replace(microsecond=0)
        rules.check_sunset(latest(at), policy)
        require_product(product, policy)
        found = organizations.find(organization)
        machine = MachineID.parse(machine_id)
        rules.check_evidence(machine.instance_source, policy)
        payload = MachineTestPayload(
            test_id=str(new_id(at)),
            product=product,
            organization_id=str(found.pk),
            organization_name=found.name,
            machine_id=str(machine),
            issued_at=at,
            expires_at=at + VALID_FOR,
        )
        file = terms.signer.sign(TEST_LICENSE_TYPE, payload.to_bytes())
        verifier = Verifier(terms.trust, allow_example_keys=terms.allow_example_keys)
        try:
            verifier.verify_test(file, machine=machine, now=at)
        except VerificationError as error:
            raise unverifiable(error) from error
        log.append(
            actor=terms.actor,
            action=TESTED,
            organization=found,
            subject=payload.test_id,
            details={"product": product, "machine_id": payload.machine_id, "grade": str(machine.grade)},
            now=at,
        )
    return TestLicense(
        UUID(payload.test_id),
        found.name,
        product,
        payload.machine_id,
        machine.grade,
        machine.grade_reasons,
        at,
        payload.expires_at,
        file,
    )
