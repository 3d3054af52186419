"""Only documented errors leave the client's classes, and one place sees to it."""

import inspect
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from keyseat_shared import envelope
from keyseat_shared.boundary import documented, guarded
from keyseat_shared.codes import ReasonCode, exit_code
from keyseat_shared.errors import CouldNotVerifyError, KeyseatError, MisuseError, TrustError, VerificationError
from keyseat_shared.machine_id import MachineID
from keyseat_shared.request import parse_request
from keyseat_shared.trust import TrustBundle
from keyseat_verifier import LicenseClient, NotEntitled, Verifier, probe_machine
from keyseat_verifier.cli import main
from keyseat_verifier.verify.lease import verify_lease
from vendor import MACHINE, NOW, Vendor

VENDOR = Vendor()
BUNDLE = VENDOR.bundle
LICENSE = VENDOR.license()

# What reads no file and asks nobody: it hands out what is kept, or checks what the program itself names.
HARMLESS = {
    "Verifier": {"key"},
    "TrustBundle": {"count", "find", "index", "is_stale", "quorums", "algorithms_without_root", "refuse_example_keys"},
    "MachineID": {"from_values", "seen_of", "tags_of", "to_bytes"},
    "LicenseClient": set(),  # `session` opens by way of `_open_session`: errors of its block are the program's
}


@pytest.mark.parametrize("kind", [Verifier, TrustBundle, MachineID, LicenseClient], ids=lambda kind: kind.__name__)
def test_every_method_that_reads_something_is_guarded(kind: type) -> None:
    methods = {
        name
        for name, value in inspect.getmembers(kind, callable)
        if not name.startswith("_") and not hasattr(value, "__wrapped__")
    }
    assert HARMLESS[kind.__name__] == methods


@pytest.mark.parametrize("function", [probe_machine, parse_request, verify_lease, LicenseClient._open_session])
def test_the_functions_beside_them_are_guarded(function: object) -> None:
    assert hasattr(function, "__wrapped__")


def test_a_guarded_function_keeps_its_name_words_and_parameters() -> None:
    found = TrustBundle.load
    assert ("load", "TrustBundle.load", "keyseat_shared.trust") == (
        found.__name__,
        found.__qualname__,
        found.__module__,
    )
    assert str(found.__doc__).startswith("Read and verify")
    assert ["path", "allow_example_keys"] == list(inspect.signature(found).parameters)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_data: bytes) -> None:
        msg = "a secret of the customer"
        raise RuntimeError(msg)

    monkeypatch.setattr(envelope, "_from_usual", fail)


@pytest.mark.usefixtures("broken")
class TestWhatNobodyHasForeseen:
    def test_is_neither_yes_nor_no_for_the_verifier(self) -> None:
        verifier = Verifier(BUNDLE)
        for check in (verifier.verify, verifier.verify_test, verifier.explain, verifier.explain_test):
            with pytest.raises(CouldNotVerifyError) as caught:
                check(LICENSE, machine=MACHINE, now=NOW)
            assert (ReasonCode.UNFORESEEN, 3) == (caught.value.code, exit_code(caught.value.code))

    def test_names_its_kind_and_place_but_not_its_words(self) -> None:
        with pytest.raises(TrustError) as caught:
            TrustBundle.from_bytes(b"{}")
        assert "RuntimeError at keyseat_shared.envelope:" in caught.value.message
        assert {"error", "place"} == caught.value.details.keys()
        assert "secret" not in str(caught.value.to_dict())
        assert isinstance(caught.value.__cause__, RuntimeError)

    def test_of_one_file_hides_no_other(self, tmp_path: Path) -> None:
        client = LicenseClient("KSE", BUNDLE, home=str(tmp_path), machine=MACHINE, environ={})
        (tmp_path / "license").mkdir()
        (tmp_path / "license" / "a.lic").write_bytes(LICENSE)
        with pytest.raises(NotEntitled) as caught:
            client.check(NOW)
        assert [ReasonCode.UNFORESEEN] == [reason.code for reason in caught.value.reasons]

    def test_is_no_traceback_on_the_command_line(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        path = tmp_path / "a.lic"
        path.write_bytes(LICENSE)
        assert 3 == main(["inspect", str(path)])
        assert capsys.readouterr().err.startswith("UNFORESEEN: something unforeseen happened (RuntimeError at keyseat_")


def test_a_wrong_call_is_the_callers_mistake() -> None:
    verifier = Verifier(BUNDLE)
    with pytest.raises(MisuseError, match="bytes"):
        verifier.verify("text", machine=MACHINE)  # type: ignore[arg-type]
    with pytest.raises(MisuseError, match="machine"):
        verifier.verify(LICENSE, machine=7, now=NOW)  # type: ignore[arg-type]
    with pytest.raises(MisuseError, match="path"):
        TrustBundle.load(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="aware"):
        verifier.verify(LICENSE, machine=MACHINE, now=NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    "now",
    [
        "2024-06-01",
        0,
        NOW.replace(tzinfo=None),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_an_instant_that_is_none_is_the_callers_mistake_everywhere(now: datetime, tmp_path: Path) -> None:
    verifier = Verifier(BUNDLE)
    for check in (verifier.verify, verifier.verify_test, verifier.explain, verifier.explain_test):
        with pytest.raises(MisuseError, match="aware datetime"):
            check(LICENSE, machine=MACHINE, now=now)
    client = LicenseClient("KSE", BUNDLE, home=str(tmp_path), machine=MACHINE, environ={})
    for ask in (client.check, client.status, client.activate, client.release):
        with pytest.raises(MisuseError, match="aware datetime"):
            ask(now)
    with pytest.raises(MisuseError, match="aware datetime"), client.session(now):
        pass


@pytest.mark.parametrize("day", [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)])
def test_the_first_and_the_last_instant_there_are_have_a_documented_answer(day: datetime, tmp_path: Path) -> None:
    with pytest.raises(VerificationError):
        Verifier(BUNDLE).verify(LICENSE, machine=MACHINE, now=day)
    client = LicenseClient("KSE", BUNDLE, home=str(tmp_path), machine=MACHINE, environ={})
    client.status(day)
    with pytest.raises(NotEntitled) as caught:
        client.check(day)
    assert ReasonCode.UNFORESEEN not in [reason.code for reason in caught.value.reasons]


def test_a_refusal_of_another_class_is_told_as_the_documented_one(tmp_path: Path) -> None:
    client = LicenseClient("KSE", BUNDLE, home=str(tmp_path), machine=MACHINE, environ={"KEYSEAT_SERVER": "x"})
    with pytest.raises(NotEntitled) as caught:
        client.check(NOW)
    assert ReasonCode.INVALID_INPUT == caught.value.code


def test_an_interrupt_is_let_through() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guarded()(stop)()


def test_a_documented_error_stays_the_very_same() -> None:
    error = KeyseatError(ReasonCode.NOT_FOUND, "gone")
    assert documented(error) is error
    assert documented(MisuseError("x")) is None
    assert (
        str(documented(ValueError("x"))) == "UNFORESEEN: something unforeseen happened (ValueError at an unknown place)"
    )
