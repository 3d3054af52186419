"""Instance ids and host ids: files that tell two containers of one image apart."""

import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from accounts import HOW, can_become, run_script
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.machine_id import tag
from keyseat_verifier.machine import MachineProbe, probe_machine
from keyseat_verifier.machine import instance as module
from keyseat_verifier.machine.places import keyseat_home
from recorded_machines import load

pytestmark = pytest.mark.machine

OTHER_UID = 4242


def probe(tmp_path: Path, *, instance: str | Path | None = None, **environ: str) -> MachineProbe:
    """Probe a container in which nothing of the host can be seen."""
    return probe_machine(
        instance=instance, source=load("linux-docker-bare"), environ={"KEYSEAT_HOME": str(tmp_path / "home")} | environ
    )


class TestMaking:
    def test_it_is_made_when_asked_for(self, tmp_path: Path) -> None:
        file = tmp_path / "deep" / "er" / "instance-id"
        found = probe(tmp_path, instance=file)
        assert "instance-file" == found.machine_id.instance_source
        assert 0o600 == stat.S_IMODE(file.stat().st_mode)
        assert 0o700 == stat.S_IMODE(file.parent.stat().st_mode)
        assert [file.name] == [path.name for path in file.parent.iterdir()]

    def test_it_is_never_made_otherwise(self, tmp_path: Path) -> None:
        found = probe(tmp_path, KEYSEAT_INSTANCE_FILE=str(tmp_path / "absent"))
        assert not found.machine_id.has_hardware
        assert [] == list(tmp_path.iterdir())

    def test_it_stays_the_same(self, tmp_path: Path) -> None:
        first = probe(tmp_path, instance=tmp_path / "id").machine_id
        assert first == probe(tmp_path, instance=str(tmp_path / "id")).machine_id

    def test_two_fresh_containers_of_one_image_get_different_ids(self, tmp_path: Path) -> None:
        first = probe(tmp_path, instance=tmp_path / "volume-1").machine_id
        assert first != probe(tmp_path, instance=tmp_path / "volume-2").machine_id

    def test_many_processes_starting_at_once_agree(self, tmp_path: Path) -> None:
        file = tmp_path / "instance-id"
        code = f"from keyseat_verifier.machine.instance import read_or_make as r; print(r({str(file)!r}))"
        started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(12)]
        told = {process.communicate()[0] for process in started}
        assert {file.read_text()} == told
        assert [file.name] == [path.name for path in tmp_path.iterdir()]

    def test_a_file_system_without_links_serves_as_well(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_links(_source: str, _target: str) -> None:
            raise PermissionError("no hard links here")

        monkeypatch.setattr(module.os, "link", no_links)
        file = tmp_path / "instance-id"
        made = module.read_or_make(str(file))
        assert made == module.read(str(file)) == module.read_or_make(str(file))
        assert [file.name] == [path.name for path in tmp_path.iterdir()]

    def test_without_links_the_second_of_two_takes_the_id_of_the_first(self, tmp_path: Path) -> None:
        file = tmp_path / "instance-id"
        first = module.read_or_make(str(file))
        assert first == module._make_without_links(str(file), b"f" * 32 + b"\n")

    @pytest.mark.parametrize("links", [True, False])
    def test_a_volume_without_room_keeps_no_part_of_an_id(self, tmp_path: Path, links: bool) -> None:  # noqa: FBT001
        script = (
            "import atexit, resource, sys; from keyseat_verifier.machine import instance;"
            "unlimited = resource.getrlimit(resource.RLIMIT_FSIZE);"
            "atexit.register(resource.setrlimit, resource.RLIMIT_FSIZE, unlimited);"  # for what measures this process
            "resource.setrlimit(resource.RLIMIT_FSIZE, (9, unlimited[1]));"
            "place = sys.argv[1];"
            "instance.read_or_make(place) if sys.argv[2:] else instance._make_without_links(place, b'0' * 33)"
        )
        command = [sys.executable, "-c", script, str(tmp_path / "instance-id"), *["links"] * links]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "File too large" in done.stderr
        assert [] == list(tmp_path.iterdir())

    def test_a_folder_that_cannot_be_made_is_refused_with_a_way_out(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(KeyseatError) as caught:
            probe(tmp_path, instance=tmp_path / "file" / "instance-id")
        assert ReasonCode.UNREADABLE == caught.value.code
        assert "persistent volume" in caught.value.next_step


class TestReading:
    def make(self, tmp_path: Path, content: str = "00112233445566778899aabbccddeeff\n", mode: int = 0o600) -> Path:
        file = tmp_path / "id"
        file.write_text(content)
        file.chmod(mode)
        return file

    def test_an_existing_file_named_by_a_variable_is_read(self, tmp_path: Path) -> None:
        found = probe(tmp_path, KEYSEAT_INSTANCE_FILE=str(self.make(tmp_path)))
        assert (tag("instance", "00112233445566778899aabbccddeeff"),) == found.machine_id.tags_of("instance")

    def test_an_existing_file_in_the_home_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        self.make(tmp_path).rename(tmp_path / "home" / "instance-id")
        assert probe(tmp_path).machine_id.has_hardware

    @pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
    def test_a_file_that_others_may_write_is_refused(self, tmp_path: Path, mode: int) -> None:
        file = self.make(tmp_path, mode=mode)
        found = probe(tmp_path, KEYSEAT_INSTANCE_FILE=str(file))
        assert not found.machine_id.has_hardware
        assert "other users may write it" in next(note.reason for note in found.components if note.kind == "instance")
        with pytest.raises(KeyseatError, match="other users may write it"):
            probe(tmp_path, instance=file)

    @pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o644])
    def test_a_file_that_others_may_only_read_is_accepted(self, tmp_path: Path, mode: int) -> None:
        assert probe(tmp_path, instance=self.make(tmp_path, mode=mode)).machine_id.has_hardware

    def test_a_file_of_another_user_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = self.make(tmp_path)
        if os.getuid() == 0:
            os.chown(file, OTHER_UID, OTHER_UID)
        else:  # only root can give files away
            monkeypatch.setattr(os, "getuid", lambda: OTHER_UID)
        with pytest.raises(KeyseatError, match="belongs to another user"):
            probe(tmp_path, instance=file)

    @pytest.mark.parametrize(
        "content", ["", "\n", "short\n", "00112233445566778899AABBCCDDEEFF\n", "g" * 32, "0" * 33, "{}", "0" * 300]
    )
    def test_a_file_with_anything_else_in_it_is_refused(self, tmp_path: Path, content: str) -> None:
        file = self.make(tmp_path, content)
        with pytest.raises(KeyseatError) as caught:
            probe(tmp_path, instance=file)
        assert ReasonCode.UNREADABLE == caught.value.code
        assert content == file.read_text()

    def test_a_directory_a_fifo_and_a_device_are_refused(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        for path in (tmp_path, tmp_path / "fifo", "/dev/zero"):
            with pytest.raises(KeyseatError, match="cannot be used"):
                probe(tmp_path, instance=path)

    def test_the_message_names_the_file_without_its_folders(self, tmp_path: Path) -> None:
        with pytest.raises(KeyseatError) as caught:
            probe(tmp_path, instance=self.make(tmp_path, "x"))
        assert str(tmp_path) not in caught.value.message


class TestHostId:
    HOST = "8c4f6a1d3b2e4907a5c8e1f20b7d9364\n"

    def probe(self, mount: str, content: str = HOST, path: str = "/run/host-id") -> MachineProbe:
        machine = load("linux-docker-bare")
        machine.files[path] = content.encode()
        machine.files["/proc/self/mountinfo"] += mount.encode() + b"\n"
        return probe_machine(source=machine, environ={"KEYSEAT_HOME": "/nonexistent", "KEYSEAT_HOST_ID_FILE": path})

    def test_a_read_only_mount_of_the_host_is_accepted(self) -> None:
        found = self.probe("90 30 8:1 /etc/machine-id /run/host-id ro,relatime - ext4 /dev/sda1 rw")
        assert "host-id" == found.machine_id.instance_source
        assert (tag("instance", "host:" + self.HOST.strip()),) == found.machine_id.tags_of("instance")
        assert "weak" == found.grade

    @pytest.mark.parametrize(
        ("mount", "reason"),
        [
            ("", "not a mount from the host"),
            ("90 30 8:1 /etc/machine-id /run/host-id rw,relatime - ext4 /dev/sda1 rw", "not mounted read-only"),
            ("90 30 0:99 / /run ro - tmpfs tmpfs ro", "not a mount from the host"),
            ("90 30 0:61 / /run/host-id ro - overlay overlay ro", "not a mount from the host"),
            ("90 30 0:61 / / ro - overlay overlay ro", "not a mount from the host"),
        ],
    )
    def test_what_the_container_made_itself_is_refused(self, mount: str, reason: str) -> None:
        found = self.probe(mount)
        assert not found.machine_id.has_hardware
        assert reason == next(note.reason for note in found.components if note.kind == "instance")

    @pytest.mark.parametrize("content", ["", "uninitialized\n", "b08dfa6083e7567a1921a715000001fb\n"])
    def test_a_host_without_an_id_of_its_own_is_refused(self, content: str) -> None:
        found = self.probe("90 30 8:1 /etc/machine-id /run/host-id ro - ext4 /dev/sda1 rw", content)
        assert not found.machine_id.has_hardware

    def test_a_mount_point_with_a_blank_in_its_name_is_understood(self) -> None:
        mount = "90 30 8:1 /etc/machine-id /run/host\\040id ro - ext4 /dev/sda1 rw"
        assert self.probe(mount, path="/run/host id").machine_id.has_hardware

    def test_a_host_id_is_another_tag_than_the_same_digits_as_instance_id(self) -> None:
        assert tag("instance", self.HOST.strip()) != tag("instance", "host:" + self.HOST.strip())


class TestHome:
    def test_the_variable_wins(self) -> None:
        assert "/elsewhere" == keyseat_home({"KEYSEAT_HOME": "/elsewhere"})

    @pytest.mark.skipif(not can_become(), reason=HOW)
    def test_an_account_without_entry_and_home_never_lives_in_the_present_folder(self) -> None:
        script = (
            "import os, pwd; from accounts import become; from keyseat_verifier.machine.places import keyseat_home;"
            "become(54321); os.environ.pop('HOME', None); print(keyseat_home({}))"
        )
        done = run_script(script)
        assert "/.keyseat\n" == done.stdout

    def test_otherwise_it_is_the_accounts_own_home_whatever_home_says(self) -> None:
        assert pwd.getpwuid(os.getuid()).pw_dir + "/.keyseat" == keyseat_home({"HOME": "/elsewhere"})
