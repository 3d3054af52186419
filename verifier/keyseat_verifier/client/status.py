"""The client's situation as a value: what entitles, until when, every file's verdict, sessions in use."""

from datetime import datetime
from typing import NamedTuple

from keyseat_shared.codes import ReasonCode
from keyseat_shared.instants import format_instant
from keyseat_verifier.client.entitlement import Entitlement, NotEntitled
from keyseat_verifier.client.resolver import Gap, Verdict
from keyseat_verifier.client.slots import Holder


class FileVerdict(NamedTuple):
    """One licence file: the code is ``OK`` where it is valid now; ``expires_at`` only then."""

    path: str
    code: ReasonCode
    message: str
    next: str
    expires_at: datetime | None


class LeaseStatus(NamedTuple):
    """A lease kept on this machine: ``is_activated`` where it stays until it is released, ``held_by`` a process."""

    session_id: str
    expires_at: datetime
    renew_after: datetime
    is_activated: bool
    held_by: int | None


class OnlineStatus(NamedTuple):
    """The online side: the server's address (``None`` where none is named), and the leases that count.

    ``credentials`` says in words what there is; ``problem`` is what is wrong with the configuration.
    """

    server: str | None
    credentials: str
    leases: tuple[LeaseStatus, ...]
    problem: str = ""


class Status(NamedTuple):
    """What ``LicenseClient.status`` returns: exactly one of ``entitlement`` and ``refusal`` is there.

    Licences cover the machine without a gap until ``covered_until``; ``gaps`` are the times without one before a later
    one starts. ``machine_id`` is ``None`` where nothing identifies this machine. ``online`` is ``None`` where no server
    is named and no lease is kept.
    """

    product: str
    folder: str
    machine_id: str | None
    trust_version: int
    entitlement: Entitlement | None
    refusal: NotEntitled | None
    files: tuple[FileVerdict, ...]
    covered_until: datetime | None
    gaps: tuple[Gap, ...]
    sessions_in_use: tuple[Holder, ...]
    warnings: tuple[str, ...]
    online: OnlineStatus | None = None

    @property
    def code(self) -> ReasonCode:
        """``OK``, or the code of the refusal."""
        return ReasonCode.OK if self.refusal is None else self.refusal.code

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "product": self.product,
            "entitled": self.entitlement is not None,
            "code": str(self.code),
            "next": "" if self.refusal is None else self.refusal.next_step,
            "folder": self.folder,
            "machine_id": self.machine_id,
            "trust_version": self.trust_version,
            "entitlement": None if self.entitlement is None else _entitlement(self.entitlement),
            "covered_until": _instant(self.covered_until),
            "gaps": [[format_instant(gap.starts_at), format_instant(gap.ends_at)] for gap in self.gaps],
            "files": [
                found._asdict() | {"code": str(found.code), "expires_at": _instant(found.expires_at)}
                for found in self.files
            ],
            "sessions_in_use": [holder._asdict() for holder in self.sessions_in_use],
            "warnings": list(self.warnings),
            "online": None if self.online is None else _online(self.online),
        }


def _instant(value: datetime | None) -> str | None:
    return None if value is None else format_instant(value)


def _online(found: OnlineStatus) -> dict[str, object]:
    return found._asdict() | {
        "leases": [
            lease._asdict()
            | {"expires_at": format_instant(lease.expires_at), "renew_after": format_instant(lease.renew_after)}
            for lease in found.leases
        ]
    }


def _entitlement(found: Entitlement) -> dict[str, object]:
    return {
        "source": found.source,
        "product": found.product,
        "organization": found.organization,
        "user": found.user,
        "expires_at": format_instant(found.expires_at),
        "sessions": found.sessions,
        "license_id": found.license_id,
        "features": list(found.features),
    }


def file_verdict(verdict: Verdict) -> FileVerdict:
    """Return a verdict of the resolver as it is shown."""
    reason = verdict.reason
    if reason is not None:
        return FileVerdict(verdict.path, reason.code, reason.message, reason.next, None)
    end = None if verdict.license is None else verdict.license.expires_at
    said = "valid" if end is None else f"valid until {format_instant(end)}"
    return FileVerdict(verdict.path, ReasonCode.OK, said, "", end)
