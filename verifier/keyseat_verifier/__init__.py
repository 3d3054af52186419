"""The client side: verify licence files offline, and say why not.

Everything here is loaded on first use, so that a program pays at its start only for what it runs.
"""

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from keyseat_shared.codes import ReasonCode
    from keyseat_shared.errors import (
        ClockError,
        CouldNotVerifyError,
        InvalidLicenseError,
        KeyseatError,
        MachineError,
        MalformedError,
        RuleError,
        TrustError,
        UntrustedError,
        VerificationError,
    )
    from keyseat_shared.machine_id import MachineID
    from keyseat_shared.trust import TrustBundle
    from keyseat_verifier.client.clock import ClockGuard
    from keyseat_verifier.client.entitlement import Entitlement, NotEntitled, PassedOver
    from keyseat_verifier.client.license_client import LicenseClient
    from keyseat_verifier.client.session import Session
    from keyseat_verifier.client.status import Status
    from keyseat_verifier.machine import MachineProbe, probe_machine
    from keyseat_verifier.online.renewal import SessionEnd
    from keyseat_verifier.verify.verified import Check, Report, VerifiedLicense, VerifiedTestLicense
    from keyseat_verifier.verify.verifier import Verifier

__all__ = [
    "Check",
    "ClockError",
    "ClockGuard",
    "CouldNotVerifyError",
    "Entitlement",
    "InvalidLicenseError",
    "KeyseatError",
    "LicenseClient",
    "MachineError",
    "MachineID",
    "MachineProbe",
    "MalformedError",
    "NotEntitled",
    "PassedOver",
    "ReasonCode",
    "Report",
    "RuleError",
    "Session",
    "SessionEnd",
    "Status",
    "TrustBundle",
    "TrustError",
    "UntrustedError",
    "VerificationError",
    "VerifiedLicense",
    "VerifiedTestLicense",
    "Verifier",
    "probe_machine",
]

_HOMES = {
    "keyseat_shared.codes": ("ReasonCode",),
    "keyseat_shared.errors": (
        "ClockError",
        "CouldNotVerifyError",
        "InvalidLicenseError",
        "KeyseatError",
        "MachineError",
        "MalformedError",
        "RuleError",
        "TrustError",
        "UntrustedError",
        "VerificationError",
    ),
    "keyseat_shared.machine_id": ("MachineID",),
    "keyseat_shared.trust": ("TrustBundle",),
    "keyseat_verifier.client.license_client": ("LicenseClient",),
    "keyseat_verifier.client.clock": ("ClockGuard",),
    "keyseat_verifier.client.entitlement": ("Entitlement", "NotEntitled", "PassedOver"),
    "keyseat_verifier.machine": ("MachineProbe", "probe_machine"),
    "keyseat_verifier.online.renewal": ("SessionEnd",),
    "keyseat_verifier.client.session": ("Session",),
    "keyseat_verifier.client.status": ("Status",),
    "keyseat_verifier.verify.verified": ("Check", "Report", "VerifiedLicense", "VerifiedTestLicense"),
    "keyseat_verifier.verify.verifier": ("Verifier",),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            value: object = getattr(import_module(home), name)
            globals()[name] = value
            return value
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
