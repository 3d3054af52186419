"""`keyseat-issuer offline batch`: a table of requests becomes licences, all or none."""

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyseat_issuer.cli.offline_common import destination_for, open_terms, with_signer
from keyseat_issuer.cli.output import Output, json_option, pass_output, told
from keyseat_issuer.cli.passphrase import passphrase_option
from keyseat_issuer.cli.steps import STEPS
from keyseat_shared.codes import ReasonCode, exit_code
from keyseat_shared.errors import KeyseatError

if TYPE_CHECKING:
    from keyseat_issuer.ledger.offline.batch import BatchResult

_WORD = "issue"
_MAX_SHOWN = 20
"""Refused rows, and rows with warnings, told on a terminal; the report has all."""


@click.command()
@click.argument("table", metavar="CSV", type=click.Path(path_type=Path))
@click.option("--out", metavar="DIR", help="Folder of the files, made where it is missing. Default: this folder.")
@click.option("--keep-going", is_flag=True, help="Issue the rows that can be, instead of all or none.")
@click.option("--accept-weak", is_flag=True, help="Bind them though machine IDs are weak.")
@click.option("--dry-run", is_flag=True, help="Check every row, issue nothing.")
@click.option("--yes", is_flag=True, help="Do not ask. For scripts.")
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write what became of each row: CSV, or JSON where the name ends in .json. Replaced where it exists.",
)
@passphrase_option
@json_option
@pass_output
def batch(
    output: Output,
    *,
    table: Path,
    out: str | None,
    keep_going: bool,
    accept_weak: bool,
    dry_run: bool,
    yes: bool,
    report: Path | None,
    passphrase_file: str | None,
) -> int:
    """Issue the licences that the rows of CSV ask for, and write their files.

    The first line names the columns: organization, product, machine_id and, where wanted, user, expires, sessions.
    One refused row stops all of them unless --keep-going. Run it again after an interruption: rows that have their
    licence get the same file again, and nothing is issued twice.
    """
    from keyseat_issuer.ledger.offline.batch_csv import MAX_SIZE, read_rows

    with table.open("rb") as file:
        rows, bad = read_rows(file.read(MAX_SIZE + 1))
    terms = open_terms()
    from keyseat_issuer.ledger.offline.batch import run_batch

    if report is not None:
        _check_report(report, table)
    destination = None if dry_run else destination_for(out, must_be_folder=True)
    warned = False
    if dry_run or not yes:
        result = run_batch(
            rows,
            bad,
            terms,
            None,
            accept_weak=accept_weak,
            keep_going=keep_going,
            dry_run=True,
            progress=output.progress,
        ).advised(STEPS.of)
        stopped = bool(result.refused) and not keep_going
        if dry_run or stopped:
            return _finish(output, result, report, dry_run=True)
        _show_plan(output, result)
        output.confirm(
            "This cannot be undone.", _WORD, yes=False, consequence="Every seat is locked until its licence ends."
        )
        warned = True
    terms = with_signer(output, terms, passphrase_file)
    output.stopped_note = "Run the same batch again: what was issued gets its files, and nothing is issued twice."
    result = run_batch(
        rows, bad, terms, destination, accept_weak=accept_weak, keep_going=keep_going, progress=output.progress
    ).advised(STEPS.of)
    return _finish(output, result, report, dry_run=False, warned=warned)


def _show_plan(output: Output, result: "BatchResult") -> None:
    output.say("This would be issued:", "bold")
    for total in result.totals:
        output.say(
            f"  {total.organization}: {total.licenses} {total.product} licences,"
            f" {total.used_before} of {total.quota} seats taken now, {total.used_after} afterwards"
        )
    output.say(
        f"  machine IDs: {', '.join(f'{count} {grade}' for grade, count in result.grades.items()) or 'none new'}"
    )
    _tell_warnings(output, result)
    _tell_refused(output, result)


def _tell_warnings(output: Output, result: "BatchResult") -> None:
    warned = result.warned
    for row in warned[:_MAX_SHOWN]:
        for text in row.warnings:
            output.say(f"  line {row.line}: Warning: {text}", "yellow")
    if len(warned) > _MAX_SHOWN:
        output.say(f"  and {len(warned) - _MAX_SHOWN} more rows with warnings; --report FILE lists all.")


def _tell_refused(output: Output, result: "BatchResult") -> None:
    # Rows in a row with one and the same next step are told it once, below the last of them.
    for step, rows in groupby(result.refused[:_MAX_SHOWN], key=lambda row: row.next_step):
        for row in rows:
            output.say(f"  line {row.line}: {row.code}: {row.message}", "red")
        if step:
            output.say(f"    Next: {step}")
    more = len(result.refused) - _MAX_SHOWN
    if more > 0:
        output.say(f"  and {more} more; --report FILE lists all.")


def _check_report(report: Path, table: Path) -> None:
    # Before anything irreversible: a report that cannot be written is noticed too late otherwise.
    with report.open("ab"):
        pass
    if report.samefile(table):
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            "the report would replace the batch itself, which a second run needs",
            next_step="Name another file with --report.",
        )


def _finish(output: Output, result: "BatchResult", report: Path | None, *, dry_run: bool, warned: bool = False) -> int:
    """Write the report, say how the batch ended, and return the exit code.

    ``warned``: the plan that was confirmed showed the warnings.
    """
    from keyseat_issuer.ledger.offline.values import Status

    issued, again = result.count(Status.ISSUED), result.count(Status.ALREADY_ISSUED)
    refused = len(result.refused)
    unreported = None if report is None else _write_report(result, report)
    error = result.not_written or unreported
    # What could not be written is "could not"; a refused row is "no", whatever its code.
    code = int(bool(refused)) if error is None else exit_code(error.code)
    if error is None and refused:
        nothing = "" if issued or again else "; nothing was issued"
        error = KeyseatError(
            ReasonCode(result.refused[0].code),
            f"{refused} of {len(result.rows)} rows are refused{nothing}",
            next_step="Correct these rows and run it again."
            + ("" if issued or again or dry_run else " --keep-going issues the others."),
        )
    if output.json:
        words = {} if error is None else told(error)
        output.emit_json({"ok": error is None, "dry_run": dry_run, **words, **result.to_dict()})
        return code
    if not warned:
        _tell_warnings(output, result)
    _tell_refused(output, result)
    if dry_run:
        output.print("Nothing was issued.")
    else:
        output.print(f"{issued} licences issued, {again} issued before and handed out again, {refused} refused.")
    if error is not None:
        output.fail(error)
    return code


def _write_report(result: "BatchResult", report: Path) -> KeyseatError | None:
    from keyseat_issuer.ledger.offline.batch import report_text

    text = report_text(result, as_json=report.suffix.lower() == ".json")
    try:
        report.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        # What was issued is issued, and has to be told all the same.
        return KeyseatError(
            ReasonCode.UNREADABLE,
            f"the report {str(report)!r} could not be written: {error.strerror}",
            next_step="Run the same batch again with another --report: nothing is issued twice.",
        )
    return None
