"""Mistakes that a type checker finds before a program runs. Never run.

Each line that is wrong says which error it expects. A line that is no longer an error makes the check fail, since an
ignore that is not needed is one itself (``warn_unused_ignores``).
"""

from datetime import datetime

from keyseat_verifier import (
    Entitlement,
    InvalidLicenseError,
    LicenseClient,
    MachineProbe,
    NotEntitled,
    Session,
    TrustBundle,
    VerifiedLicense,
    Verifier,
    probe_machine,
)


def a_client_needs_a_bundle_not_a_path() -> None:
    LicenseClient("KSE", "trust.json")  # type: ignore[arg-type]


def a_client_needs_a_bundle_at_all() -> None:
    LicenseClient("KSE")  # type: ignore[call-arg]


def options_are_named(trust: TrustBundle) -> None:
    LicenseClient("KSE", trust, "/srv/home")  # type: ignore[call-arg]


def a_client_has_a_product(trust: TrustBundle) -> None:
    LicenseClient(None, trust)  # type: ignore[arg-type]


def time_is_an_instant_not_a_text(client: LicenseClient) -> None:
    client.check("2023-12-01")  # type: ignore[arg-type]


def an_entitlement_is_no_text(client: LicenseClient) -> None:
    source: int = client.check().source  # type: ignore[assignment]
    del source


def a_user_may_be_missing(found: Entitlement) -> str:
    return found.user  # type: ignore[return-value]


def an_entitlement_does_not_change(found: Entitlement, now: datetime) -> None:
    found.expires_at = now  # type: ignore[misc]


def a_session_is_held_by_a_with_block(client: LicenseClient) -> Session:
    return client.session()  # type: ignore[return-value]


def a_licence_needs_a_machine(verifier: Verifier, data: bytes) -> None:
    verifier.verify(data)  # type: ignore[call-arg]


def a_licence_is_bytes_not_a_path(verifier: Verifier, machine: MachineProbe) -> None:
    verifier.verify("ada.lic", machine=machine)  # type: ignore[arg-type]


def the_machine_is_named(verifier: Verifier, data: bytes, machine: MachineProbe) -> None:
    verifier.verify(data, machine)  # type: ignore[call-arg]


def a_verified_licence_does_not_change(found: VerifiedLicense, now: datetime) -> None:
    found.expires_at = now  # type: ignore[misc]


def a_report_may_have_no_licence(verifier: Verifier, data: bytes, machine: MachineProbe) -> str:
    return verifier.explain(data, machine=machine).license.product  # type: ignore[union-attr]


def a_refusal_of_the_client_is_no_verdict_of_the_verifier(error: NotEntitled) -> InvalidLicenseError:
    return error  # type: ignore[return-value]


def a_callback_takes_the_end_of_the_session(client: LicenseClient) -> None:
    def ended(why: str) -> None:
        del why

    client.session(on_ended=ended)  # type: ignore[arg-type]


def an_instance_file_is_named() -> None:
    probe_machine("/srv/instance-id")  # type: ignore[call-arg]
