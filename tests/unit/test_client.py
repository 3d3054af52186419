"""LicenseClient: finds the files, picks the licence, says why not, and remembers cheaply."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import CouldNotVerifyError, KeyseatError, TrustError
from keyseat_shared.instants import format_instant
from keyseat_shared.machine_id import MachineID
from keyseat_shared.trust import COMPROMISED
from keyseat_verifier import LicenseClient, NotEntitled
from keyseat_verifier.client import answer as answer_module
from keyseat_verifier.client import resolver
from keyseat_verifier.client.resolver import Gap
from vendor import EXPIRES, MACHINE, NOW, OTHER_MACHINE, OTHER_USER, Key, Vendor, machine

pytestmark = pytest.mark.machine

VENDOR = Vendor()
HOUR = timedelta(hours=1)


class House:
    """A home folder with licence files."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "license").mkdir(parents=True)

    def put(self, name: str, data: bytes) -> Path:
        path = self.home / "license" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def client(self, product: str = "KSE", on: MachineID = MACHINE, **options: object) -> LicenseClient:
        return LicenseClient(product, VENDOR.bundle, home=self.home, machine=on, **options)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "home")


def refusal(client: LicenseClient, at: datetime = NOW) -> NotEntitled:
    with pytest.raises(NotEntitled) as caught:
        client.check(at)
    return caught.value


class TestEntitlement:
    def test_comes_from_a_valid_file(self, house: House) -> None:
        house.put("team/a.lic", VENDOR.license(features=["reports"]))
        found = house.client().check(NOW)
        assert found._asdict() == {
            "source": "offline",
            "product": "KSE",
            "organization": "Example Organisation",
            "user": "ada@example.com",
            "expires_at": EXPIRES,
            "sessions": 1,
            "license_id": VENDOR.payload()["license_id"],
            "features": ("reports",),
            "warnings": (),
            "passed_over": (),
        }

    def test_a_bad_file_never_hides_a_good_one(self, house: House) -> None:
        house.put("a.lic", b"junk")
        house.put("b.lic", VENDOR.license(machine_id=str(OTHER_MACHINE)))
        house.put("c.lic", VENDOR.license(2))
        (house.home / "license" / "d.lic").mkdir()
        found = house.client().check(NOW)
        assert found.license_id == VENDOR.payload(2)["license_id"]
        assert [(Path(reason.path).name, str(reason.code)) for reason in found.passed_over] == [
            ("b.lic", "MACHINE_MISMATCH"),
            ("a.lic", "MALFORMED"),
        ]

    def test_files_for_another_product_cause_no_warning(self, house: House) -> None:
        house.put("kre.lic", VENDOR.license(2, product="KRE"))
        house.put("kse.lic", VENDOR.license())
        found = house.client().check(NOW)
        assert (found.product, found.warnings) == ("KSE", ())

    def test_the_licence_that_ends_last_is_used(self, house: House) -> None:
        house.put("a.lic", VENDOR.license(1, expires_at="2024-01-01T00:00:00Z"))
        house.put("b.lic", VENDOR.license(2, expires_at="2024-03-01T00:00:00Z"))
        house.put("c.lic", VENDOR.license(3, expires_at="2024-02-01T00:00:00Z"))
        assert house.client().check(NOW).expires_at == datetime(2024, 3, 1, tzinfo=UTC)

    def test_sessions_add_up_and_copies_of_a_file_do_not(self, house: House) -> None:
        house.put("a.lic", VENDOR.license(1, product="KRE"))
        house.put("b.lic", VENDOR.license(2, product="KRE", sessions=3))
        house.put("copy of b.lic", VENDOR.license(2, product="KRE", sessions=3))
        assert house.client("KRE").check(NOW).sessions == 4

    @pytest.mark.parametrize(("before", "warned"), [(31, False), (30, True), (1, True)])
    def test_warns_before_the_end(self, house: House, before: int, *, warned: bool) -> None:
        house.put("a.lic", VENDOR.license())
        found = house.client().check(EXPIRES - timedelta(days=before))
        assert bool(found.warnings) is warned
        assert all(f"({before} day" in text and "online activation" in text for text in found.warnings)

    def test_the_present_instant_is_the_default(self, house: House) -> None:
        house.put("a.lic", VENDOR.license())
        with freeze_time(NOW):
            assert house.client().check().license_id == VENDOR.payload()["license_id"]


class TestRefusal:
    def test_without_files_says_where_to_put_one_and_how_to_get_it(self, house: House) -> None:
        error = refusal(house.client())
        assert (str(error.code), error.reasons) == ("NO_LICENSE", ())
        assert "`keyseat machine-id`" in error.next_step
        assert "nline" in error.next_step
        assert str(house.home / "license") in error.next_step

    def test_a_folder_out_of_reach_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "license").symlink_to("license")
        client = LicenseClient("KSE", VENDOR.bundle, home=tmp_path, machine=MACHINE)
        assert ("UNREADABLE", 1) == (str(refusal(client).code), len(refusal(client).reasons))

    def test_without_a_home_is_the_same(self, tmp_path: Path) -> None:
        client = LicenseClient("KSE", VENDOR.bundle, home=tmp_path / "nowhere", machine=MACHINE)
        assert str(refusal(client).code) == "NO_LICENSE"
        assert not (tmp_path / "nowhere").exists()

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (VENDOR.license(expires_at="2023-11-01T00:00:00Z"), "EXPIRED"),
            (VENDOR.license(machine_id=str(OTHER_MACHINE)), "MACHINE_MISMATCH"),
            (VENDOR.license(machine_id=str(OTHER_USER)), "USER_MISMATCH"),
            (VENDOR.license(product="KRE"), "WRONG_PRODUCT"),
            (VENDOR.test_license(), "TEST_LICENSE"),
            (VENDOR.lease(), "UNSUPPORTED_FORMAT"),
            (VENDOR.license(subscription__term="monthly"), "NOT_ANNUAL"),
            (b"", "MALFORMED"),
        ],
    )
    def test_has_the_code_of_the_only_file(self, house: House, data: bytes, code: str) -> None:
        house.put("a.lic", data)
        error = refusal(house.client())
        assert str(error.code) == code
        assert [str(reason.code) for reason in error.reasons] == [code]
        assert error.next_step.startswith(error.reasons[0].next)

    def test_the_file_that_came_furthest_tells_the_code(self, house: House) -> None:
        house.put("a.lic", b"junk")
        house.put("b.lic", VENDOR.license(expires_at="2023-11-01T00:00:00Z"))
        house.put("c.lic", VENDOR.license(product="KRE"))
        house.put("d.lic", Vendor(name="other").license())
        error = refusal(house.client())
        assert [str(reason.code) for reason in error.reasons] == [
            "EXPIRED",
            "UNKNOWN_KEY",
            "MALFORMED",
            "WRONG_PRODUCT",
        ]
        assert error.code == "EXPIRED"
        assert [reason["code"] for reason in error.to_dict()["details"]["reasons"]] == [r.code for r in error.reasons]

    def test_a_file_that_could_not_be_read_tells_more_than_a_damaged_one(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        house.put("z.lic", b"{")
        good = house.put("a.lic", VENDOR.license())
        read = resolver.read_file

        def closed(path: str) -> bytes:
            if path == str(good):
                raise CouldNotVerifyError(ReasonCode.UNREADABLE, "permission denied")
            return read(path)

        monkeypatch.setattr(resolver, "read_file", closed)
        error = refusal(house.client())
        assert ["UNREADABLE", "MALFORMED"] == [str(reason.code) for reason in error.reasons]

    def test_ends_with_the_last_second_of_the_licence(self, house: House) -> None:
        house.put("a.lic", VENDOR.license())
        client = house.client()
        assert client.check(EXPIRES - timedelta(seconds=1)).expires_at == EXPIRES
        assert str(refusal(client, EXPIRES).code) == "EXPIRED"

    def test_an_unreadable_folder_is_a_reason(self, tmp_path: Path) -> None:
        (tmp_path / "license").write_bytes(b"a file where the folder should be")
        error = refusal(LicenseClient("KSE", VENDOR.bundle, home=tmp_path, machine=MACHINE))
        assert str(error.code) == "UNREADABLE"

    def test_a_clock_set_back_behind_what_is_known_is_refused(self, house: House) -> None:
        house.put("a.lic", VENDOR.license(issued_at=format_instant(NOW)))
        house.put("b.lic", VENDOR.license(2))
        client = house.client()
        client.check(NOW)
        assert str(refusal(client, NOW - HOUR).code) == "CLOCK_ROLLED_BACK"
        assert str(refusal(house.client(), NOW - HOUR).code) == "CLOCK_ROLLED_BACK"
        assert house.client().check(NOW + HOUR)

    def test_one_check_under_a_clock_that_is_ahead_locks_nobody_out(self, house: House) -> None:
        house.put("a.lic", VENDOR.license())
        client = house.client()
        client.check(NOW + 14 * HOUR)
        assert client.check(NOW)
        assert house.client().check(NOW)

    def test_a_client_that_does_not_remember_time_leaves_no_trace(self, house: House) -> None:
        house.put("a.lic", VENDOR.license())
        house.client(remember_time=False).check(NOW)
        assert [path.name for path in house.home.iterdir()] == ["license"]
        assert house.client(remember_time=False).check(NOW - HOUR)

    def test_a_home_that_cannot_be_written_is_a_warning(self, house: House) -> None:
        house.put("a.lic", VENDOR.license())
        for name in ("state", "sessions"):
            (house.home / name).write_bytes(b"a file where the folder should be")
        assert [text[:30] for text in house.client().check(NOW).warnings] == ["the time could not be recorded"]


class TestRepeatedChecks:
    """A cached answer is the same object; a fresh one is another, equal object."""

    @pytest.fixture
    def settled(self, house: House) -> House:
        path = house.put("a.lic", VENDOR.license())
        deadline = time.monotonic() + 10
        while path.stat().st_ctime_ns > time.time_ns() - 60_000_000 and time.monotonic() < deadline:
            os.sched_yield()
        return house

    def test_of_unchanged_files_are_answered_from_memory(self, settled: House) -> None:
        client = settled.client()
        first = client.check(NOW)
        assert client.check(NOW + timedelta(seconds=59)) is first
        assert client.check(NOW + timedelta(seconds=60)) is not first

    def test_never_outlive_the_licence(self, settled: House) -> None:
        client = settled.client()
        last = EXPIRES - timedelta(seconds=1)
        assert client.check(last) is client.check(last)
        assert str(refusal(client, EXPIRES).code) == "EXPIRED"

    @pytest.mark.parametrize("change", ["edit", "remove", "add", "trust"])
    def test_notice_every_change(self, settled: House, change: str) -> None:
        client = settled.client()
        first = client.check(NOW)
        path = settled.home / "license" / "a.lic"
        if change == "edit":
            path.write_bytes(b"junk")
            assert str(refusal(client).code) == "MALFORMED"
        elif change == "remove":
            path.unlink()
            assert str(refusal(client).code) == "NO_LICENSE"
        elif change == "add":
            settled.put("b.lic", b"junk")
            assert len(client.check(NOW).passed_over) == 1
        else:
            (settled.home / "trust.json").write_bytes(b"junk")
            assert first.warnings == ()
            assert "was not adopted" in client.check(NOW).warnings[0]

    def test_are_for_one_account(self, settled: House, monkeypatch: pytest.MonkeyPatch) -> None:
        client = settled.client()
        first = client.check(NOW)
        monkeypatch.setattr(answer_module, "account", lambda: 4711)
        assert client.check(NOW) is not first

    def test_do_not_stand_under_a_clock_that_stands_still(
        self, settled: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = settled.client()
        first = client.check(NOW)
        later = time.monotonic() + 60
        monkeypatch.setattr(answer_module.time, "monotonic", lambda: later)
        assert client.check(NOW) is not first

    def test_young_files_are_not_trusted_to_show_changes(self, house: House) -> None:
        path = house.put("a.lic", VENDOR.license())
        os.utime(path, ns=(time.time_ns() + 10**12,) * 2)
        client = house.client()
        assert client.check(NOW) is not client.check(NOW)


def test_threads_share_a_client_while_files_change(house: House) -> None:
    first, second = VENDOR.license(1), VENDOR.license(2)
    house.put("always.lic", first)
    client = house.client()
    stop = threading.Event()

    def ask() -> set[str]:
        answers = set()
        while not stop.is_set():
            answers.add(client.check(NOW).license_id)
        return answers

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask) for _ in range(4)]
        for round_number in range(40):
            house.put("sometimes.lic", second if round_number % 2 else b"junk")
        stop.set()
        answers = set().union(*[future.result() for future in asked])
    assert answers <= {VENDOR.payload(1)["license_id"], VENDOR.payload(2)["license_id"]}
    assert client.check(NOW).license_id == VENDOR.payload(2)["license_id"]


class TestStatus:
    def test_tells_every_files_verdict(self, house: House) -> None:
        house.put("a.lic", VENDOR.license())
        house.put("b.lic", b"junk")
        status = house.client().status(NOW)
        assert [(Path(found.path).name, str(found.code)) for found in status.files] == [
            ("a.lic", "OK"),
            ("b.lic", "MALFORMED"),
        ]
        assert (status.machine_id, status.trust_version, status.covered_until) == (str(MACHINE), 1, EXPIRES)
        assert (status.refusal, str(status.code)) == (None, "OK")

    def test_of_nothing_has_the_refusal(self, house: House) -> None:
        status = house.client().status(NOW)
        assert (status.entitlement, str(status.code), status.covered_until) == (None, "NO_LICENSE", None)
        assert status.to_dict()["next"] == status.refusal.next_step if status.refusal else False

    def test_coverage_runs_on_through_licences_that_follow_each_other(self, house: House) -> None:
        house.put("a.lic", VENDOR.license(1, expires_at="2024-01-01T00:00:00Z"))
        house.put(
            "b.lic",
            VENDOR.license(
                2,
                subscription__starts_at="2024-01-01T00:00:00Z",
                subscription__ends_at="2025-01-01T00:00:00Z",
                expires_at="2025-01-01T00:00:00Z",
            ),
        )
        status = house.client().status(NOW)
        assert (status.covered_until, status.gaps) == (datetime(2025, 1, 1, tzinfo=UTC), ())

    def test_gaps_before_later_licences_are_told(self, house: House) -> None:
        house.put("a.lic", VENDOR.license(1, expires_at="2024-01-01T00:00:00Z"))
        later = VENDOR.license(
            2,
            subscription__starts_at="2024-02-01T00:00:00Z",
            subscription__ends_at="2025-02-01T00:00:00Z",
            expires_at="2025-02-01T00:00:00Z",
        )
        house.put("b.lic", later)
        status = house.client().status(NOW)
        january, february = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
        assert (status.covered_until, status.gaps) == (january, (Gap(january, february),))
        assert status.to_dict()["gaps"] == [["2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"]]

    def test_a_later_licence_for_another_machine_covers_nothing(self, house: House) -> None:
        house.put(
            "b.lic",
            VENDOR.license(
                subscription__starts_at="2024-02-01T00:00:00Z",
                subscription__ends_at="2025-02-01T00:00:00Z",
                expires_at="2025-02-01T00:00:00Z",
                machine_id=str(OTHER_MACHINE),
            ),
        )
        status = house.client().status(NOW)
        assert (status.covered_until, status.gaps) == (None, ())


class TestTrustUpdates:
    ROTATED = Key("rotated license")

    def newer(self, **options: object) -> bytes:
        keys = [VENDOR.trusted(VENDOR.key, status=COMPROMISED), VENDOR.trusted(self.ROTATED)]
        return VENDOR.bundle_bytes(keys=keys, version=2, **options)

    def test_a_newer_bundle_in_the_home_folder_is_adopted(self, house: House) -> None:
        house.put("a.lic", VENDOR.license())
        client = house.client()
        client.check(NOW)
        (house.home / "trust.json").write_bytes(self.newer())
        assert str(refusal(client).code) == "KEY_COMPROMISED"
        assert client.trust.version == 2
        house.put("b.lic", VENDOR.signed(VENDOR.payload(2), self.ROTATED))
        assert client.check(NOW).license_id == VENDOR.payload(2)["license_id"]

    def test_a_bundle_signed_by_others_is_not(self, house: House) -> None:
        house.put("a.lic", VENDOR.license())
        (house.home / "trust.json").write_bytes(self.newer(signers=[Key("somebody")]))
        client = house.client()
        assert "was not adopted" in client.check(NOW).warnings[0]
        assert client.trust.version == 1
        assert "was not adopted" in client.status(NOW).warnings[0]

    def test_an_older_bundle_left_there_is_passed_over_silently(self, house: House) -> None:
        house.put("a.lic", VENDOR.license())
        (house.home / "trust.json").write_bytes(VENDOR.bundle_bytes())
        client = LicenseClient("KSE", Vendor(version=3).bundle, home=house.home, machine=MACHINE)
        assert (client.check(NOW).warnings, client.trust.version) == ((), 3)

    def test_a_folder_in_its_place_is_a_warning(self, house: House) -> None:
        house.put("a.lic", VENDOR.license())
        (house.home / "trust.json").mkdir()
        assert "was not adopted" in house.client().check(NOW).warnings[0]

    def test_example_keys_are_refused_unless_allowed(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        trust = VENDOR.bundle
        monkeypatch.setattr("keyseat_shared.trust.EXAMPLE_PUBLIC_KEYS", frozenset({VENDOR.key.public.raw}))
        with pytest.raises(TrustError, match="EXAMPLE_KEY"):
            LicenseClient("KSE", trust, home=house.home)
        house.put("a.lic", VENDOR.license())
        client = LicenseClient("KSE", trust, home=house.home, machine=MACHINE, allow_example_keys=True)
        assert client.check(NOW).product == "KSE"


class TestThisMachine:
    def test_is_probed_when_no_machine_is_given(self, house: House) -> None:
        (house.home / "instance-id").write_text("0123456789abcdef" * 2 + "\n")
        (house.home / "instance-id").chmod(0o600)
        client = LicenseClient("KSE", VENDOR.bundle, home=house.home)
        machine_id = client.status(NOW).machine_id
        house.put("a.lic", VENDOR.license(machine_id=machine_id))
        assert client.check(NOW).user == "ada@example.com"
        house.put("a.lic", VENDOR.license())
        assert refusal(client).code in {"MACHINE_MISMATCH", "MACHINE_INDETERMINATE"}

    def test_a_machine_given_as_nonsense_is_told_not_guessed(self, house: House) -> None:
        house.put("a.lic", VENDOR.license())
        client = LicenseClient("KSE", VENDOR.bundle, home=house.home, machine="mid1nonsense")
        assert str(refusal(client).code) == "INVALID_INPUT"
        assert client.status(NOW).machine_id is None

    def test_a_repaired_machine_keeps_its_licence_and_its_clock_mark(self, house: House) -> None:
        house.put("a.lic", VENDOR.license(issued_at=format_instant(NOW)))
        house.client().check(NOW)
        house.put("a.lic", VENDOR.license(2))
        repaired = house.client(on=machine(disk=["NEW-DISK-1"]))
        assert repaired.check(NOW).product == "KSE"
        assert str(refusal(repaired, NOW - HOUR).code) == "CLOCK_ROLLED_BACK"


def test_errors_are_keyseat_errors_and_name_no_home(house: House, own_account_home: Path) -> None:
    house.put("a.lic", b"junk")
    assert isinstance(refusal(house.client()), KeyseatError)
    client = LicenseClient("KSE", VENDOR.bundle, home=own_account_home / "never-made", machine=MACHINE)
    assert client.status(NOW).folder == "~/never-made/license"
