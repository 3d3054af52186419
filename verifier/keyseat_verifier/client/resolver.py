"""The resolver: judges every licence file, picks the one to use, and says until when the machine is covered.

A bad file never hides a good one: each is judged alone, and what it lacks is kept as a reason.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from keyseat_shared.codes import COULD_NOT_CHECK, ReasonCode
from keyseat_shared.errors import VerificationError
from keyseat_shared.files import read_file
from keyseat_verifier._internal.paths import shown
from keyseat_verifier.client.entitlement import PassedOver
from keyseat_verifier.verify.verified import VerifiedLicense
from keyseat_verifier.verify.verifier import STEPS, Machine, Verifier


class Verdict(NamedTuple):
    """One file's verdict: ``license`` where it is valid now, or else ``reason``.

    ``later`` is the licence of a file that only has not started yet; ``rank`` tells how far verification came.
    """

    path: str
    license: VerifiedLicense | None
    reason: PassedOver | None
    later: VerifiedLicense | None
    rank: int


class Gap(NamedTuple):
    """A time without any valid licence, from its start to its exclusive end."""

    starts_at: datetime
    ends_at: datetime


_RANKS = {name: rank for rank, (name, _) in enumerate(STEPS, 2)}
# A file that could not be checked may be a good one: it tells more than one that is damaged or signed by nobody known.
_UNDECIDED = _RANKS["signature"] + 1
# Files for another product or for testing lie beside the real ones without harm; they tell the least.
_LEAST_TELLING = frozenset({ReasonCode.WRONG_PRODUCT, ReasonCode.TEST_LICENSE})


def judge(path: str, verifier: Verifier, machine: Machine, now: datetime) -> Verdict:
    """Verify one file."""
    try:
        data = read_file(path)
        found = verifier.verify(data, machine=machine, now=now)
    except VerificationError as error:
        reason = PassedOver(shown(path), error.code, error.message, error.next_step)
        rank = 0 if error.code in _LEAST_TELLING else _RANKS.get(error.step, 1)
        if error.code in COULD_NOT_CHECK:
            rank = max(rank, _UNDECIDED)
        later = None
        if error.code is ReasonCode.NOT_YET_VALID:
            later = _later(data, verifier, machine, error)
        return Verdict(shown(path), None, reason, later, rank)
    return Verdict(shown(path), found, None, None, 0)


def judge_all(paths: Iterable[str], verifier: Verifier, machine: Machine, now: datetime) -> tuple[Verdict, ...]:
    """Verify files, each alone."""
    return tuple([judge(path, verifier, machine, now) for path in paths])


def is_undecided(verdicts: Iterable[Verdict]) -> bool:
    """Tell whether a fresh trust bundle might make a file count."""
    return any(verdict.reason is not None and verdict.reason.code is ReasonCode.TRUST_STALE for verdict in verdicts)


def _later(data: bytes, verifier: Verifier, machine: Machine, error: VerificationError) -> VerifiedLicense | None:
    """Return what a file that has not started yet will be worth: the same check at its start, without a clock."""
    # Whether the bundle will be fresh then is another matter.
    what_if = Verifier(verifier.trust._replace(fresh_until=None), verifier.product, allow_example_keys=True)
    try:
        starts_at = datetime.fromisoformat(str(error.details["starts_at"]))
        return what_if.verify(data, machine=machine, now=starts_at)
    except VerificationError:
        return None


def valid(verdicts: Iterable[Verdict]) -> list[VerifiedLicense]:
    """Return the valid licences, each once, the one to use first: the latest end, then the most sessions."""
    distinct = {verdict.license.license_id: verdict.license for verdict in verdicts if verdict.license is not None}
    return sorted(distinct.values(), key=lambda found: (found.expires_at, found.sessions, found.license_id))[::-1]


def reasons(verdicts: Iterable[Verdict]) -> list[PassedOver]:
    """Return the reasons of the files that do not count, the most telling first."""
    refused = [verdict for verdict in verdicts if verdict.reason is not None]
    refused.sort(key=lambda verdict: (-verdict.rank, verdict.path))
    return [verdict.reason for verdict in refused if verdict.reason is not None]


def coverage(verdicts: Iterable[Verdict], now: datetime) -> tuple[datetime | None, tuple[Gap, ...]]:
    """Return until when the machine is covered without a break from ``now``, and the gaps before later licences."""
    every = [found for verdict in verdicts if (found := verdict.license or verdict.later) is not None]
    until: datetime | None = None
    gaps: list[Gap] = []
    end = now
    for found in sorted(every, key=lambda found: (found.starts_at, found.expires_at)):
        if found.starts_at > end:
            gaps.append(Gap(end, found.starts_at))
        if found.expires_at > end:
            end = found.expires_at
            if not gaps:
                until = end
    return until, tuple(gaps)
