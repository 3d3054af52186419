"""What the public names return, as a type checker tells a program that embeds the client. Never run."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import assert_type

from keyseat_verifier import (
    Check,
    ClockGuard,
    Entitlement,
    LicenseClient,
    MachineID,
    MachineProbe,
    NotEntitled,
    PassedOver,
    ReasonCode,
    Report,
    Session,
    SessionEnd,
    Status,
    TrustBundle,
    VerifiedLicense,
    VerifiedTestLicense,
    Verifier,
    probe_machine,
)


def trust_bundle(path: str, data: bytes) -> TrustBundle:
    bundle = TrustBundle.load(path)
    assert_type(bundle, TrustBundle)
    assert_type(bundle.version, int)
    assert_type(bundle.vendor, str)
    assert_type(bundle.issued_at, datetime)
    assert_type(bundle.fresh_until, datetime | None)
    assert_type(TrustBundle.from_bytes(data), TrustBundle)
    assert_type(bundle.update(data), TrustBundle)
    return bundle


def client(trust: TrustBundle, environ: Mapping[str, str], now: datetime) -> None:
    asked = LicenseClient("KSE", trust, home="/srv/home", server=None, online=False, environ=environ)
    assert_type(asked, LicenseClient)
    assert_type(asked.product, str)
    assert_type(asked.trust, TrustBundle)
    assert_type(asked.license_folder, str)
    # There is no boolean to forget: the answer is a value or an exception.
    assert_type(asked.check(), Entitlement)
    assert_type(asked.check(now), Entitlement)
    assert_type(asked.activate(now, release_previous=True), Entitlement)
    assert_type(asked.status(), Status)
    held: AbstractContextManager[Session] = asked.session()
    del held


def entitlement(found: Entitlement) -> None:
    assert_type(found.source, str)
    assert_type(found.product, str)
    assert_type(found.organization, str)
    assert_type(found.user, str | None)
    assert_type(found.expires_at, datetime)
    assert_type(found.sessions, int)
    assert_type(found.license_id, str)
    assert_type(found.features, tuple[str, ...])
    assert_type(found.warnings, tuple[str, ...])
    assert_type(found.passed_over, tuple[PassedOver, ...])


def passed_over(reason: PassedOver) -> None:
    assert_type(reason.path, str)
    assert_type(reason.code, ReasonCode)
    assert_type(reason.message, str)
    assert_type(reason.next, str)


def session(asked: LicenseClient) -> None:
    def ended(end: SessionEnd) -> None:
        assert_type(end.code, ReasonCode)
        assert_type(end.reason, str)
        assert_type(end.at, datetime)
        assert_type(end.is_final, bool)

    with asked.session(on_ended=ended) as held:
        assert_type(held, Session)
        assert_type(held.entitlement, Entitlement)
        assert_type(held.number, int)
        assert_type(held.is_held, bool)
        assert_type(held.ended, SessionEnd | None)
        held.release()


def status(found: Status) -> None:
    assert_type(found.code, ReasonCode)
    assert_type(found.machine_id, str | None)
    assert_type(found.trust_version, int)
    assert_type(found.entitlement, Entitlement | None)
    assert_type(found.refusal, NotEntitled | None)
    assert_type(found.covered_until, datetime | None)
    assert_type(found.warnings, tuple[str, ...])
    assert_type(found.to_dict(), dict[str, object])


def verifier(trust: TrustBundle, data: bytes, machine: MachineProbe, now: datetime) -> None:
    checks = Verifier(trust, product="KSE", clock=ClockGuard("/srv/home"))
    assert_type(checks, Verifier)
    assert_type(checks.trust, TrustBundle)
    assert_type(checks.product, str | None)
    assert_type(checks.verify(data, machine=machine, now=now), VerifiedLicense)
    assert_type(checks.verify(bytearray(data), machine="mid1"), VerifiedLicense)
    assert_type(checks.verify(memoryview(data), machine=machine.machine_id), VerifiedLicense)
    assert_type(checks.verify_test(data, machine=machine), VerifiedTestLicense)
    assert_type(checks.explain(data, machine=machine), Report)
    assert_type(checks.explain_test(data, machine=machine), Report)


def verified_license(found: VerifiedLicense, now: datetime) -> None:
    assert_type(found.license_id, str)
    assert_type(found.product, str)
    assert_type(found.organization_id, str)
    assert_type(found.organization_name, str)
    assert_type(found.user, str | None)
    assert_type(found.subscription_id, str)
    assert_type(found.term, str)
    assert_type(found.starts_at, datetime)
    assert_type(found.ends_at, datetime)
    assert_type(found.machine_id, str)
    assert_type(found.sessions, int)
    assert_type(found.features, tuple[str, ...])
    assert_type(found.issued_at, datetime)
    assert_type(found.expires_at, datetime)
    assert_type(found.policy, str)
    assert_type(found.signers, tuple[str, ...])
    assert_type(found.days_left(now), int)
    assert_type(found.to_dict(), dict[str, object])


def verified_test_license(found: VerifiedTestLicense) -> None:
    assert_type(found.test_id, str)
    assert_type(found.machine_id, str)
    assert_type(found.expires_at, datetime)
    assert_type(found.signers, tuple[str, ...])
    assert_type(found.to_dict(), dict[str, object])


def report(found: Report) -> None:
    assert_type(found.valid, bool)
    assert_type(found.code, ReasonCode)
    assert_type(found.checks, tuple[Check, ...])
    assert_type(found.license, VerifiedLicense | VerifiedTestLicense | None)
    assert_type(found.next, str)
    assert_type(found.to_dict(), dict[str, object])
    for check in found.checks:
        assert_type(check.name, str)
        assert_type(check.ok, bool | None)
        assert_type(check.code, ReasonCode | None)
        assert_type(check.detail, str)


def machine(environ: Mapping[str, str]) -> None:
    probed = probe_machine(instance="/srv/instance-id", environ=environ)
    assert_type(probed, MachineProbe)
    assert_type(probed.machine_id, MachineID)
    assert_type(probed.require_id(), MachineID)
    assert_type(probed.environment, str)
    assert_type(MachineID.parse("mid1"), MachineID)
    assert_type(MachineID.parse("mid1").to_bytes(), bytes)
    assert_type(str(probed.machine_id), str)
