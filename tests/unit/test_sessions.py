"""Local sessions: exact counting by file locks, freed by the kernel, not inherited by forked children."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keyseat_shared.errors import KeyseatError
from keyseat_shared.trust import TrustBundle
from keyseat_verifier import LicenseClient, NotEntitled
from keyseat_verifier._internal import account_place
from keyseat_verifier.client import slots as sessions
from keyseat_verifier.client.slots import Slots, in_use, session_folders, take_slot
from vendor import MACHINE, NOW, Vendor

VENDOR = Vendor()
ID = VENDOR.payload()["license_id"]
THREE = (Slots(ID, 3),)

HOLD = """
import sys
from keyseat_verifier.client.slots import Slots, take_slot
slot = take_slot((sys.argv[1],), (Slots(sys.argv[2], int(sys.argv[3])),))
print("none" if slot is None else slot.number, flush=True)
sys.stdin.read()
"""


class Holder:
    """Another process that takes a slot and keeps it."""

    def __init__(self, folder: Path, slots: int) -> None:
        command = [sys.executable, "-c", HOLD, str(folder), ID, str(slots)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.got = self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def end(self) -> None:
        self.process.communicate()


class TestSlots:
    def test_are_taken_in_order_and_given_back(self, tmp_path: Path) -> None:
        held = [take_slot((str(tmp_path),), THREE) for _ in range(3)]
        assert [slot.number for slot in held if slot] == [1, 2, 3]
        assert take_slot((str(tmp_path),), THREE) is None
        assert held[1] is not None
        held[1].release()
        held[1].release()
        again = take_slot((str(tmp_path),), THREE)
        assert again is not None
        assert again.number == 2

    def test_of_several_licences_add_up(self, tmp_path: Path) -> None:
        licenses = (Slots("first", 1), Slots("second", 1))
        held = [take_slot((str(tmp_path),), licenses) for _ in range(3)]
        assert [slot and slot.license_id for slot in held] == ["first", "second", None]

    def test_in_use_names_the_holders(self, tmp_path: Path) -> None:
        assert in_use((str(tmp_path),), THREE) == ()
        other = Holder(tmp_path, 3)
        mine = take_slot((str(tmp_path),), THREE)
        assert mine is not None
        assert [(found.number, found.pid) for found in in_use((str(tmp_path),), THREE)] == [
            (1, other.process.pid),
            (2, os.getpid()),
        ]
        other.end()
        assert [found.pid for found in in_use((str(tmp_path),), THREE)] == [os.getpid()]

    def test_looking_takes_nothing(self, tmp_path: Path) -> None:
        slot = take_slot((str(tmp_path),), THREE)
        assert slot is not None
        slot.release()
        assert in_use((str(tmp_path),), THREE) == ()
        assert in_use((str(tmp_path),), THREE) == ()

    def test_foreign_files_in_the_folder_are_ignored(self, tmp_path: Path) -> None:
        (tmp_path / ID).mkdir()
        for name in ("x.lock", "1.txt", "99.lock"):
            (tmp_path / ID / name).touch()
        assert in_use((str(tmp_path),), THREE) == ()

    def test_lock_files_are_private(self, tmp_path: Path) -> None:
        slot = take_slot((str(tmp_path / "sessions"),), THREE)
        assert slot is not None
        assert (tmp_path / "sessions").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "sessions" / ID / "1.lock").stat().st_mode & 0o777 == 0o600

    def test_a_link_planted_as_lock_file_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / ID).mkdir()
        (tmp_path / ID / "1.lock").symlink_to(tmp_path / "victim")
        with pytest.raises(OSError, match="symbolic links"):
            take_slot((str(tmp_path),), (Slots(ID, 1),))
        assert not (tmp_path / "victim").exists()


class TestProcesses:
    def test_racing_for_slots_get_each_exactly_once(self, tmp_path: Path) -> None:
        holders = [Holder(tmp_path, 5) for _ in range(8)]
        assert sorted(holder.got for holder in holders) == ["1", "2", "3", "4", "5", "none", "none", "none"]
        for holder in holders:
            holder.end()

    def test_a_killed_holder_frees_its_slot_at_once(self, tmp_path: Path) -> None:
        holder = Holder(tmp_path, 1)
        assert take_slot((str(tmp_path),), (Slots(ID, 1),)) is None
        holder.kill()
        assert take_slot((str(tmp_path),), (Slots(ID, 1),)) is not None

    def test_a_forked_child_neither_holds_nor_frees_the_slot(self, tmp_path: Path) -> None:
        slot = take_slot((str(tmp_path),), (Slots(ID, 1),))
        assert slot is not None
        child = os.fork()
        if child == 0:
            held = slot.is_held
            slot.release()
            free = take_slot((str(tmp_path),), (Slots(ID, 1),))
            os._exit(10 * held + (free is not None))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert slot.is_held
        assert take_slot((str(tmp_path),), (Slots(ID, 1),)) is None

    def test_a_child_that_lives_on_does_not_keep_the_slot(self, tmp_path: Path) -> None:
        slot = take_slot((str(tmp_path),), (Slots(ID, 1),))
        assert slot is not None
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        slot.release()
        again = take_slot((str(tmp_path),), (Slots(ID, 1),))
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)
        assert again is not None

    def test_a_started_program_does_not_keep_the_slot(self, tmp_path: Path) -> None:
        slot = take_slot((str(tmp_path),), (Slots(ID, 1),))
        assert slot is not None
        started = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
        slot.release()
        again = take_slot((str(tmp_path),), (Slots(ID, 1),))
        started.communicate(b"\n")
        assert again is not None


class TestClientSessions:
    @pytest.fixture
    def client(self, tmp_path: Path) -> LicenseClient:
        (tmp_path / "license").mkdir()
        (tmp_path / "license" / "a.lic").write_bytes(VENDOR.license(product="KRE", sessions=2))
        return LicenseClient("KRE", VENDOR.bundle, home=tmp_path, machine=MACHINE)

    def test_count_up_to_the_licence(self, client: LicenseClient) -> None:
        with client.session(NOW) as first, client.session(NOW) as second:
            assert (first.number, second.number, first.entitlement.sessions) == (1, 2, 2)
            assert [found.pid for found in client.status(NOW).sessions_in_use] == [os.getpid()] * 2
            with pytest.raises(NotEntitled, match=f"all 2 sessions .* held by process {os.getpid()}$") as caught:
                client.session(NOW).__enter__()
            assert str(caught.value.code) == "SESSIONS_EXCEEDED"
        assert client.status(NOW).sessions_in_use == ()

    def test_end_with_the_block_also_on_errors(self, client: LicenseClient) -> None:
        with pytest.raises(ZeroDivisionError), client.session(NOW) as session:
            _ = 1 // 0
        assert not session.is_held

    def test_can_be_given_back_early(self, client: LicenseClient) -> None:
        with client.session(NOW) as session:
            session.release()
            assert client.status(NOW).sessions_in_use == ()

    def test_need_an_entitlement(self, tmp_path: Path) -> None:
        client = LicenseClient("KRE", VENDOR.bundle, home=tmp_path, machine=MACHINE)
        with pytest.raises(NotEntitled) as caught, client.session(NOW):
            pass
        assert str(caught.value.code) == "NO_LICENSE"

    def test_that_cannot_be_counted_are_refused(
        self, client: LicenseClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(account_place, "candidates", list)
        (tmp_path / "sessions").write_bytes(b"a file where the folder should be")
        with pytest.raises(KeyseatError, match="sessions cannot be counted") as caught, client.session(NOW):
            pass
        assert (str(caught.value.code), "KEYSEAT_HOME" in caught.value.next_step) == ("UNREADABLE", True)
        assert client.status(NOW).sessions_in_use == ()

    def test_need_no_home_that_can_be_written(self, client: LicenseClient, tmp_path: Path) -> None:
        (tmp_path / "sessions").write_bytes(b"a file where the folder should be")
        with client.session(NOW) as session:
            assert 1 == session.number
            assert [os.getpid()] == [found.pid for found in client.status(NOW).sessions_in_use]

    def test_a_named_seat_allows_one(self, tmp_path: Path) -> None:
        (tmp_path / "license").mkdir()
        (tmp_path / "license" / "a.lic").write_bytes(VENDOR.license())
        client = LicenseClient("KSE", VENDOR.bundle, home=tmp_path, machine=MACHINE)
        with client.session(NOW), pytest.raises(NotEntitled, match="SESSIONS_EXCEEDED"), client.session(NOW):
            pass


class TestHomes:
    """The place where sessions are counted is the account's: no environment moves it."""

    def client(self, home: Path, data: bytes | None = None, trust: TrustBundle = VENDOR.bundle) -> LicenseClient:
        (home / "license").mkdir(parents=True, exist_ok=True)
        (home / "license" / "a.lic").write_bytes(data or VENDOR.license(product="KRE"))
        return LicenseClient("KRE", trust, home=home, machine=MACHINE)

    def test_share_one_count(self, tmp_path: Path) -> None:
        with self.client(tmp_path / "1").session(NOW):
            for name in ("1", "2", "3"):
                with (
                    pytest.raises(NotEntitled, match="SESSIONS_EXCEEDED"),
                    self.client(tmp_path / name).session(NOW),
                ):
                    pass
        with self.client(tmp_path / "3").session(NOW):
            pass

    def test_share_it_between_programs_whatever_their_environment_says(self, tmp_path: Path) -> None:
        self.client(tmp_path / "2")
        program = f"""
import sys
sys.path[:0] = {sys.path!r}
from datetime import datetime, UTC
from keyseat_verifier import LicenseClient, NotEntitled, TrustBundle
trust = TrustBundle.from_bytes({VENDOR.bundle.data!r})
client = LicenseClient("KRE", trust, machine={str(MACHINE)!r})
try:
    with client.session(datetime.fromisoformat({NOW.isoformat()!r})):
        print("held")
except NotEntitled as error:
    print(error.code)
"""
        moved = {"KEYSEAT_HOME": str(tmp_path / "2"), "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
        command = [sys.executable, "-c", program]

        def held() -> str:
            return subprocess.run(command, env=os.environ | moved, capture_output=True, text=True, check=True).stdout

        with self.client(tmp_path / "1").session(NOW):
            assert "SESSIONS_EXCEEDED\n" == held()
        assert "held\n" == held()

    def test_of_other_licences_and_vendors_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        other = Vendor(name="other")
        with (
            self.client(tmp_path / "1").session(NOW),
            self.client(tmp_path / "2", VENDOR.license(2, product="KRE")).session(NOW),
            self.client(tmp_path / "3", other.license(3, product="KRE"), other.bundle).session(NOW),
        ):
            assert 1 == len(self.client(tmp_path / "1").status(NOW).sessions_in_use)

    def test_of_other_accounts_do_not_either(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(account_place, "account_place", lambda: str(tmp_path / "account"))
        with self.client(tmp_path / "1").session(NOW):
            monkeypatch.setattr(sessions, "account_place", lambda: str(tmp_path / "another"))
            with self.client(tmp_path / "2").session(NOW):
                pass

    def test_that_containers_share_count_for_all_of_them(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for container in ("one", "another"):
            monkeypatch.setattr(sessions, "account_place", lambda name=container: str(tmp_path / name))
            if container == "one":
                held = take_slot(session_folders(str(tmp_path)), (Slots(ID, 1),))
                assert held is not None
            else:
                assert take_slot(session_folders(str(tmp_path)), (Slots(ID, 1),)) is None

    def test_with_an_older_client_count_its_sessions(self, tmp_path: Path) -> None:
        old = Holder(tmp_path / "sessions", 1)  # it knows the home's folder alone
        assert take_slot(session_folders(str(tmp_path)), (Slots(ID, 1),)) is None
        assert [old.process.pid] == [found.pid for found in in_use(session_folders(str(tmp_path)), (Slots(ID, 1),))]
        second = take_slot(session_folders(str(tmp_path)), (Slots(ID, 2),))
        assert second is not None
        assert 2 == second.number
        old.end()
        assert take_slot(session_folders(str(tmp_path)), (Slots(ID, 1),)) is not None

    def test_are_all_free_after_a_release(self, tmp_path: Path) -> None:
        folders = session_folders(str(tmp_path))
        held = take_slot(folders, (Slots(ID, 1),))
        assert held is not None
        assert [True, True] == [Path(folder, ID, "1.lock").read_bytes().strip().isdigit() for folder in folders]
        held.release()
        for folder in folders:
            again = take_slot((folder,), (Slots(ID, 1),))
            assert again is not None
            again.release()


class TestOnePlaceByTwoNames:
    """A home may lie in the account's own place, or lead there: one lock is not two."""

    def folders(self, tmp_path: Path, how: str) -> tuple[str, ...]:
        own, home = Path(account_place.account_place()), tmp_path / "home"
        if how == "the same folder":
            return session_folders(str(own))
        (own / "sessions" / ID).mkdir(parents=True)
        if how == "a link to the home":
            home.symlink_to(own)
        elif how == "a link to the sessions":
            home.mkdir()
            (home / "sessions").symlink_to(own / "sessions")
        else:
            (home / "sessions" / ID).mkdir(parents=True)
            (own / "sessions" / ID / "1.lock").touch()
            os.link(own / "sessions" / ID / "1.lock", home / "sessions" / ID / "1.lock")
        return session_folders(str(home))

    @pytest.mark.parametrize(
        "how", ["the same folder", "a link to the home", "a link to the sessions", "links to the files"]
    )
    def test_gives_the_sessions_that_there_are_and_no_more(self, tmp_path: Path, how: str) -> None:
        folders = self.folders(tmp_path, how)
        slot = take_slot(folders, (Slots(ID, 1),))
        assert slot is not None
        assert [os.getpid()] == [found.pid for found in in_use(folders, (Slots(ID, 1),))]
        assert take_slot(folders, (Slots(ID, 1),)) is None
        slot.release()
        assert () == in_use(folders, (Slots(ID, 1),))


class TestBadLockFiles:
    def test_that_are_pipes_are_not_waited_for(self, tmp_path: Path) -> None:
        (tmp_path / ID).mkdir()
        os.mkfifo(tmp_path / ID / "1.lock")
        with pytest.raises(OSError, match="not a file"):
            take_slot((str(tmp_path),), (Slots(ID, 1),))
        slot = take_slot((str(tmp_path),), THREE)
        assert slot is not None
        assert 2 == slot.number

    def test_that_hold_no_name_of_their_holder_count_all_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", full)  # the file is there, and the disk has no room for what it says
        slot = take_slot((str(tmp_path),), (Slots(ID, 1),))
        assert slot is not None
        assert [0] == [found.pid for found in in_use((str(tmp_path),), (Slots(ID, 1),))]

    def test_leave_the_other_slots_free(self, tmp_path: Path) -> None:
        (tmp_path / ID / "1.lock").mkdir(parents=True)
        slot = take_slot((str(tmp_path),), THREE)
        assert slot is not None
        assert 2 == slot.number

    def test_in_the_home_are_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "sessions" / ID / "1.lock").mkdir(parents=True)
        slot = take_slot(session_folders(str(tmp_path)), THREE)
        assert slot is not None
        assert 1 == slot.number

    def test_in_the_accounts_place_do_not_open_it_to_the_homes(self, tmp_path: Path) -> None:
        folders = session_folders(str(tmp_path))
        Path(folders[0], ID, "1.lock").mkdir(parents=True)
        with pytest.raises(OSError, match="directory"):
            take_slot(folders, (Slots(ID, 1),))
