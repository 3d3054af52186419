"""Batches: a table of requests becomes licences in one transaction and files afterwards, with a report line per row.

The ledger is written first and alone decides; files follow from it. A run that was killed is simply run again: rows
that have their licence get the same file again, the others are issued.
"""

import contextlib
import csv
import gc
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.offline.batch_csv import BadRow, BatchRow
from keyseat_issuer.ledger.offline.conversion import convert
from keyseat_issuer.ledger.offline.files import Destination, file_stem
from keyseat_issuer.ledger.offline.rules import OfflineRequest
from keyseat_issuer.ledger.offline.values import Outcome, Progress, Status, Terms, no_progress
from keyseat_issuer.ledger.tools.table_text import safe_cell
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.evidence import Grade
from keyseat_shared.machine_id import MachineID

REPORT_COLUMNS = ("line", "status", "license_id", "file", "code", "message", "next", "warnings")


class RowResult(NamedTuple):
    """What became of one row; ``file`` is the name of the file it was handed out as, where it was.

    ``warnings`` are set where the row's machine ID is one to think about first, ``error`` where the row was refused:
    the face that tells it sets ``next_step`` then.
    """

    line: int
    status: Status
    license_id: str | None = None
    file: str | None = None
    code: str = ReasonCode.OK
    message: str = ""
    next_step: str = ""
    warnings: tuple[str, ...] = ()
    error: KeyseatError | None = None

    @classmethod
    def refused(cls, line: int, error: KeyseatError) -> "RowResult":
        """Return the result of a row that was refused."""
        return cls(line, Status.REFUSED, code=error.code, message=" ".join(error.message.split()), error=error)

    def advised(self, step_of: Callable[[KeyseatError], str]) -> "RowResult":
        """Return the result with a face's words on what to do next."""
        return self if self.error is None else self._replace(next_step=" ".join(step_of(self.error).split()))

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "line": self.line,
            "status": str(self.status),
            "license_id": self.license_id,
            "file": self.file,
            "code": str(self.code),
            "message": self.message,
            "next": self.next_step,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class PoolTotal:
    """What a batch takes of one pool."""

    organization: str
    product: str
    licenses: int
    quota: int
    used_before: int
    used_after: int


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch: its rows in the order of the file, and what it takes of each pool.

    ``not_written`` is set where licences are issued whose files could not be written.
    """

    rows: tuple[RowResult, ...]
    totals: tuple[PoolTotal, ...]
    grades: dict[str, int]
    not_written: KeyseatError | None = None

    def advised(self, step_of: Callable[[KeyseatError], str]) -> "BatchResult":
        """Return the result with a face's words on what to do next about each refused row."""
        return replace(self, rows=tuple(row.advised(step_of) for row in self.rows))

    def count(self, status: Status) -> int:
        """Return how many rows have this status."""
        return sum(row.status is status for row in self.rows)

    @property
    def warned(self) -> tuple[RowResult, ...]:
        """The rows that a person should think about."""
        return tuple(row for row in self.rows if row.warnings)

    @property
    def refused(self) -> tuple[RowResult, ...]:
        """The rows that were refused."""
        return tuple(row for row in self.rows if row.status is Status.REFUSED)

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return {
            "issued": self.count(Status.ISSUED),
            "already_issued": self.count(Status.ALREADY_ISSUED),
            "refused": self.count(Status.REFUSED),
            "not_issued": self.count(Status.NOT_ISSUED),
            "rows": [row.to_dict() for row in self.rows],
        }


def run_batch(
    rows: Sequence[BatchRow],
    bad: Sequence[BadRow],
    terms: Terms,
    destination: Destination | None,
    *,
    accept_weak: bool = False,
    keep_going: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> BatchResult:
    """Issue the rows of a batch, or none of them where one is refused, and write their files.

    Args:
        rows: from ``read_rows``.
        bad: rows of the same table that cannot be read; they count as refused.
        terms: trust bundle, actor and instant; a signer is needed unless ``dry_run``.
        destination: the folder of the files; ``None`` writes none.
        accept_weak: for all rows.
        keep_going: issue what may be issued.
        dry_run: change and write nothing.
        progress: wraps the signing and the writing.

    Raises:
        KeyseatError: where the batch as a whole fails, as ``convert`` says; nothing is issued then.
    """
    requests = [_request(row, accept_weak=accept_weak) for row in rows]
    with _collector_paused():
        # A line that cannot be read stops the batch like a refusal; the other lines are still judged, for the report.
        outcomes = convert(
            requests,
            terms,
            dry_run=dry_run or bool(bad and not keep_going),
            keep_going=keep_going,
            repeatable=True,
            progress=progress,
        )
        names, not_written = ({}, None) if destination is None else _hand_out(outcomes, destination, progress)
    results = [_result(row, outcome, names) for row, outcome in zip(rows, outcomes, strict=True)]
    results += [RowResult.refused(entry.line, entry.error) for entry in bad]
    grades = Counter(str(outcome.decision.grade) for outcome in outcomes if outcome.decision is not None)
    return BatchResult(
        tuple(sorted(results, key=lambda result: result.line)),
        _totals(outcomes),
        {grade: grades[grade] for grade in Grade if grades[grade]},
        not_written,
    )


def report_text(result: BatchResult, *, as_json: bool) -> str:
    """Return the report: a JSON object, or CSV with a header line (RFC 4180)."""
    if as_json:
        return json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n"
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(REPORT_COLUMNS)
    for row in result.rows:
        values = row.to_dict()
        writer.writerow([_cell(values[name]) for name in REPORT_COLUMNS])
    return text.getvalue()


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the cycle collector out: it would look for garbage in all of Django again and again and find none."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _request(row: BatchRow, *, accept_weak: bool) -> OfflineRequest:
    return OfflineRequest(
        row.organization,
        row.product,
        row.machine_id,
        user=row.user,
        expires_at=row.expires_at,
        sessions=row.sessions,
        accept_weak=accept_weak,
    )


def _hand_out(
    outcomes: Sequence[Outcome], destination: Destination, progress: Progress
) -> tuple[dict[str, str], KeyseatError | None]:
    """Write the files of all licences in the order of the rows; return their names by licence id."""
    licenses = [outcome.license for outcome in outcomes if outcome.license is not None]
    idents = [str(license_.license_id) for license_ in licenses]
    names: dict[str, str] = {}
    try:
        destination.sweep(set(idents))
        for ident, license_ in progress(zip(idents, licenses, strict=True), "Writing files", len(licenses)):
            stem = file_stem(license_.product, license_.machine_id)
            # Not synced: after a power cut a second run writes from the ledger what is missing.
            names[ident] = destination.write(stem, license_.file, ident=ident, sync=False)
    except KeyseatError as error:
        return names, KeyseatError(
            error.code,
            f"{len(licenses)} licences are issued, but only {len(names)} files were written: {error.message}",
            cause=Cause.BATCH_HALF_WRITTEN,
        )
    return names, None


def _result(row: BatchRow, outcome: Outcome, names: dict[str, str]) -> RowResult:
    if outcome.error is not None:
        return RowResult.refused(row.line, outcome.error)
    if outcome.license is None:
        return RowResult(row.line, outcome.status, warnings=_warnings(outcome))
    ident = str(outcome.license.license_id)
    return RowResult(row.line, outcome.status, ident, names.get(ident), warnings=_warnings(outcome))


def _warnings(outcome: Outcome) -> tuple[str, ...]:
    """Return what the preview of a single licence tells of the machine ID: that it is weak, and its weak spots."""
    if outcome.decision is not None:
        machine = outcome.decision.machine
    elif outcome.license is not None:
        machine = MachineID.parse_canonical(outcome.license.machine_id)
    else:
        return ()
    reason, *remarks = machine.grade_reasons
    return (*([f"The machine ID is weak: {reason}"] if machine.grade is Grade.WEAK else []), *remarks)


def _totals(outcomes: Sequence[Outcome]) -> tuple[PoolTotal, ...]:
    totals: dict[object, PoolTotal] = {}
    for outcome in outcomes:
        decision = outcome.decision
        if decision is None:
            continue
        pool = decision.source.pool
        before = totals.get(pool.pk)
        totals[pool.pk] = PoolTotal(
            decision.organization.name,
            decision.request.product,
            1 if before is None else before.licenses + 1,
            pool.quota,
            decision.used_before if before is None else before.used_before,
            decision.used_after,
        )
    return tuple(totals.values())


def _cell(value: object) -> str:
    text = " ".join(value) if isinstance(value, list) else "" if value is None else str(value)
    return safe_cell(text)
