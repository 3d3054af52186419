"""``keyseat machine-id`` as a process, on the machine the tests run on and on recorded ones.

What needs a machine with hardware evidence, or one without, brings it along.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import machine_program
from accounts import HOW, can_become, run_script
from keyseat_shared.machine_id import MachineID
from keyseat_shared.request import parse_request
from keyseat_verifier.machine import probe_machine

pytestmark = pytest.mark.machine

COMMAND = [sys.executable, "-c", "import sys; from keyseat_verifier.cli import main; sys.exit(main())", "machine-id"]
# A name that cannot be part of any word, whatever this machine is called.
HOST = "adas-analytical-engine"
NAMED = (
    "import os, platform, socket; real = os.uname();"
    f"platform.node = socket.gethostname = socket.getfqdn = lambda *_: '{HOST}';"
    f"os.uname = lambda: os.uname_result((real[0], '{HOST}', *real[2:]));"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def keyseat(
    home: Path, *arguments: object, command: Sequence[object] = COMMAND, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run the command with a home of its own."""
    keep = {
        name: value for name, value in os.environ.items() if name in {"PATH", "PYTHONPATH", "COVERAGE_PROCESS_CONFIG"}
    }
    return subprocess.run(
        [*map(str, command), *map(str, arguments)],
        env=keep | {"KEYSEAT_HOME": str(home)} | environ,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def on(tree: str) -> list[object]:
    """The command on a recorded machine."""
    return [sys.executable, machine_program.__file__, tree, "machine-id"]


class TestId:
    def test_it_prints_the_id_alone_on_one_line_and_the_grade_on_stderr(self, home: Path) -> None:
        done = keyseat(home, "--instance")
        assert 0 == done.returncode
        assert done.stdout == f"{MachineID.parse_canonical(done.stdout.strip())}\n"
        assert done.stderr.startswith("grade: ")
        assert (home / "instance-id").exists()

    def test_without_options_it_is_the_same_id(self, home: Path) -> None:
        with_option = keyseat(home, "--instance").stdout
        assert with_option == keyseat(home).stdout

    @pytest.mark.parametrize(
        "environ",
        [
            {"LC_ALL": "C"},
            {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0"},
            {"LANG": "tr_TR.UTF-8", "TZ": "Asia/Tokyo"},
            {"LOGNAME": "mallory", "USER": "mallory", "USERNAME": "mallory", "HOME": "/nonexistent"},
            {"CI": "true", "container": "docker", "PYTHONHASHSEED": "7"},
        ],
        ids=str,
    )
    def test_locale_and_variables_do_not_change_it(self, home: Path, environ: dict[str, str]) -> None:
        first = keyseat(home, "--instance").stdout
        assert first == keyseat(home, **environ).stdout

    def test_many_processes_at_once_agree(self, home: Path) -> None:
        first = keyseat(home, "--instance").stdout
        environ = os.environ | {"KEYSEAT_HOME": str(home)}
        running = [subprocess.Popen(COMMAND, env=environ, stdout=-1, stderr=-1, text=True) for _ in range(12)]
        assert {first} == {process.communicate()[0] for process in running}

    @pytest.mark.skipif(not can_become(), reason=HOW)
    def test_another_user_has_another_id_whatever_the_variables_say(self) -> None:
        other_uid = 1 if os.getuid() != 1 else 2
        # In one process, since the interpreter itself may be out of reach for the other user.
        script = (
            "from accounts import become; from keyseat_verifier.machine import probe_machine;"
            f"mine = probe_machine().require_id(); become({other_uid}); other = probe_machine().require_id();"
            "print(mine, other)"
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            file = Path(folder) / "instance-id"
            file.write_text("00112233445566778899aabbccddeeff\n", encoding="ascii")
            file.chmod(0o644)
            done = run_script(script, KEYSEAT_INSTANCE_FILE=str(file), LOGNAME="root", USER="root")
        assert 0 == done.returncode, done.stderr
        mine, other = map(MachineID.parse, done.stdout.split())
        assert mine.tags_of("instance") == other.tags_of("instance")
        assert not set(mine.tags_of("user-id")) & set(other.tags_of("user-id"))
        assert not set(mine.tags_of("user-name")) & set(other.tags_of("user-name"))


class TestEvidence:
    def test_hardware_needs_no_instance_file_and_makes_none(self, home: Path) -> None:
        done = keyseat(home, command=on("linux-laptop"))
        assert (0, f"{MachineID.parse_canonical(done.stdout.strip())}\n") == (done.returncode, done.stdout)
        assert done.stderr.startswith("grade: strong. " if os.getuid() == 0 else "grade: fair. ")
        assert not home.exists()

    def test_the_doctor_tells_two_machines_apart(self, home: Path) -> None:
        other = keyseat(home, command=on("linux-server")).stdout.strip()
        done = keyseat(home, "--compare", other, command=on("linux-laptop"))
        assert (1, "This is not the machine of the licence.") == (done.returncode, done.stdout.splitlines()[0])


class TestNoEvidence:
    BARE = on("linux-docker-bare")

    def test_it_prints_no_id_exits_with_4_and_tells_the_options(self, home: Path) -> None:
        done = keyseat(home, command=self.BARE)
        assert (4, "") == (done.returncode, done.stdout)
        assert "1. Use online floating sessions" in done.stderr
        assert not home.exists()

    def test_an_instance_file_that_was_passed_over_is_told(self, home: Path) -> None:
        assert 0 == keyseat(home, "--instance", command=self.BARE).returncode
        (home / "instance-id").chmod(0o660)
        done = keyseat(home, command=self.BARE)
        assert 4 == done.returncode
        assert "instance file was passed over (other users may write it: run chmod" in done.stderr
        elsewhere = keyseat(home, command=self.BARE, KEYSEAT_INSTANCE_FILE="/nonexistent")
        assert "was passed over (not there)" in elsewhere.stderr

    def test_json_says_the_same(self, home: Path) -> None:
        done = keyseat(home, "--json", command=self.BARE)
        told = json.loads(done.stdout)
        assert 4 == done.returncode
        assert (None, "NO_MACHINE_EVIDENCE") == (told["machine_id"], told["code"])
        assert "floating" in told["options"][0]

    def test_no_request_is_written(self, home: Path, tmp_path: Path) -> None:
        assert 4 == keyseat(home, "--request", tmp_path / "r.json", command=self.BARE).returncode
        assert not (tmp_path / "r.json").exists()


class TestOptions:
    def test_json_is_one_object_on_stdout_and_nothing_else(self, home: Path) -> None:
        done = keyseat(home, "--instance", "--json")
        told = json.loads(done.stdout)
        assert 1 == done.stdout.count("\n")
        assert "OK" == told["code"]
        assert str(MachineID.parse(told["machine_id"]).grade) == told["grade"]
        assert "components" not in told

    def test_an_instance_file_in_a_place_of_its_own_is_not_found_again_by_itself_and_that_is_told(
        self, home: Path, tmp_path: Path
    ) -> None:
        told = "KEYSEAT_INSTANCE_FILE must name this file"
        file = str(tmp_path / "volume-id")
        assert told in keyseat(home, "--instance", file).stderr
        assert told not in keyseat(home, "--instance", file, KEYSEAT_INSTANCE_FILE=file).stderr
        assert told not in keyseat(home, "--instance").stderr
        assert told not in keyseat(home, "--instance", home / "instance-id").stderr

    def test_json_with_explain_has_the_components(self, home: Path) -> None:
        told = json.loads(keyseat(home, "--instance", "--json", "--explain").stdout)
        assert {"kind", "where", "state", "reason"} == set(told["components"][0])

    def test_explain_tells_each_component_and_what_has_no_weight(self, home: Path) -> None:
        done = keyseat(home, "--instance", "--explain")
        assert 1 == done.stdout.count("\n")
        for word in ("firmware UUID", "network adapters", "system disk", "user account id", "processor", "weight zero"):
            assert word in done.stderr

    def test_a_request_file_is_what_the_issuer_reads(self, home: Path, tmp_path: Path) -> None:
        done = keyseat(home, "--instance", "--request", tmp_path / "request.json")
        parsed = parse_request((tmp_path / "request.json").read_bytes())
        assert done.stdout == f"{parsed.machine_id}\n"
        assert {"keyseat", "os", "python"} == set(parsed.versions)

    def test_no_output_holds_host_user_address_or_instance_id(self, home: Path, tmp_path: Path) -> None:
        options = ("--instance", "--explain", "--request", tmp_path / "request.json")
        done = keyseat(home, *options, command=[*COMMAND[:2], NAMED + COMMAND[2], COMMAND[3]])
        told = (done.stdout + done.stderr + (tmp_path / "request.json").read_text(encoding="utf-8")).lower()
        hidden = [HOST, (home / "instance-id").read_text(encoding="ascii").strip()]
        files = [Path("/etc/machine-id"), *Path("/sys/class/net").glob("*/address")]
        hidden += [file.read_text(encoding="ascii").strip() for file in files if file.exists()]
        hidden += [value.replace(":", "") for value in hidden]
        assert not [value for value in hidden if value.strip("0:") and value.lower() in told]

    @pytest.mark.parametrize("place", ["nowhere/deep/request.json", "."])
    def test_a_request_that_cannot_be_written_exits_with_3(self, home: Path, tmp_path: Path, place: str) -> None:
        done = keyseat(home, "--instance", "--request", tmp_path / place)
        assert (3, "") == (done.returncode, done.stdout)
        assert "UNREADABLE" in done.stderr

    def test_a_request_replaces_a_request_and_no_other_file(self, home: Path, tmp_path: Path) -> None:
        request, other, empty = tmp_path / "request.json", tmp_path / "KSE_mid1.lic", tmp_path / "empty"
        other.write_text("a licence", encoding="utf-8")
        empty.touch()
        assert [0, 0, 0] == [keyseat(home, "--instance", "--request", x).returncode for x in (request, request, empty)]
        done = keyseat(home, "--instance", "--request", other)
        assert (1, "", "a licence") == (done.returncode, done.stdout, other.read_text(encoding="utf-8"))
        assert "ALREADY_EXISTS" in done.stderr

    def test_a_file_too_large_to_be_a_request_is_not_read_whole(self, home: Path, tmp_path: Path) -> None:
        with (tmp_path / "disk.img").open("wb") as file:
            file.truncate(1 << 40)
        done = keyseat(home, "--instance", "--request", tmp_path / "disk.img")
        assert 1 == done.returncode
        assert "ALREADY_EXISTS" in done.stderr

    def test_comparing_with_itself_exits_with_0(self, home: Path) -> None:
        mine = keyseat(home, "--instance").stdout.strip()
        done = keyseat(home, "--compare", mine)
        assert 0 == done.returncode
        assert done.stdout.startswith("This is the machine and the user account of the licence.")

    def test_comparing_with_another_machine_exits_with_1_and_tells_what_differs(
        self, home: Path, tmp_path: Path
    ) -> None:
        mine = MachineID.parse(keyseat(home, "--instance").stdout)
        # All that this machine has, with other values: what it lacks could not be read, which is no "changed".
        values = {kind: ["x"] for kind in mine.kinds}
        other = MachineID.from_values(values, instance_source="instance-file")
        done = keyseat(home, "--compare", other, "--json")
        told = json.loads(done.stdout)
        assert (1, "other-machine") == (done.returncode, told["verdict"])
        assert "changed" in told["components"].values()

    def test_comparing_without_the_volume_exits_with_3_and_says_so(self, home: Path, tmp_path: Path) -> None:
        values = {"instance": ["x"], "user-id": [str(os.getuid())]}
        enrolled = MachineID.from_values(values, instance_source="instance-file")
        done = keyseat(home, "--compare", enrolled)
        assert 3 == done.returncode
        assert "KEYSEAT_INSTANCE_FILE" in done.stdout

    def test_a_mistyped_id_is_located(self, home: Path) -> None:
        mine = keyseat(home, "--instance").stdout.strip()
        done = keyseat(home, "--compare", mine[:16] + "b" + mine[17:])
        assert 2 == done.returncode  # 1 would say: another machine
        assert "character 17 'b'" in done.stderr

    def test_a_misspelt_file_name_is_no_machine_id(self, home: Path) -> None:
        done = keyseat(home, "--compare", "licence")
        assert (3, True) == (done.returncode, "neither a machine ID nor a file" in done.stderr)

    def test_errors_are_json_where_json_was_asked_for(self, home: Path) -> None:
        done = keyseat(home, "--compare", "./nowhere.lic", "--json")
        assert (3, "UNREADABLE") == (done.returncode, json.loads(done.stdout)["code"])

    def test_an_instance_file_that_cannot_be_trusted_exits_with_3(self, home: Path, tmp_path: Path) -> None:
        (tmp_path / "id").write_text("nonsense", encoding="ascii")
        done = keyseat(home, "--instance", tmp_path / "id")
        assert (3, "") == (done.returncode, done.stdout)

    def test_a_qr_code_goes_to_stderr_and_the_id_stays_alone(self, home: Path) -> None:
        pytest.importorskip("segno")
        done = keyseat(home, "--instance", "--qr")
        assert 1 == done.stdout.count("\n")
        assert "\u2580" in done.stderr

    @pytest.mark.parametrize("arguments", [["--nonsense"], ["extra"], ["--request"]])
    def test_wrong_usage_exits_with_2(self, home: Path, arguments: list[str]) -> None:
        done = keyseat(home, *arguments)
        assert (2, "") == (done.returncode, done.stdout)
        assert "usage: keyseat machine-id" in done.stderr

    def test_help_exits_with_0(self, home: Path) -> None:
        assert 0 == keyseat(home, "--help").returncode


class TestNamespaces:
    """Two fresh containers of one image: real mount namespaces with the same paths and volumes of their own."""

    def run(self, place: Path, arguments: str) -> subprocess.CompletedProcess[str]:
        command = " ".join(f"'{part}'" for part in COMMAND)
        script = f"mount -t tmpfs tmpfs '{place}' && KEYSEAT_HOME='{place}' exec {command} {arguments}"
        return self.unshare("--uts", "--ipc", "sh", "-c", script)

    def unshare(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        mine = [] if os.getuid() == 0 else ["--map-root-user"]
        command = ["unshare", "--mount", "--fork", *mine, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        if shutil.which("unshare") is None or self.run(tmp_path, "--help").returncode:
            pytest.skip("neither root nor user namespaces: this account gets no mount namespace")
        return tmp_path

    def test_they_get_different_instance_ids(self, place: Path) -> None:
        first, second = self.run(place, "--instance"), self.run(place, "--instance")
        assert (0, 0) == (first.returncode, second.returncode)
        assert first.stdout != second.stdout
        assert [] == list(place.iterdir())

    def test_without_a_volume_they_are_refused_unless_the_host_shows(self, place: Path) -> None:
        first, second = self.run(place, ""), self.run(place, "")
        shows = probe_machine(environ={"KEYSEAT_HOME": "/nonexistent"}).machine_id.has_hardware
        assert ({0} if shows else {4}) == {first.returncode, second.returncode}

    def test_the_mount_of_a_host_id_is_found_behind_many_others(self, place: Path) -> None:
        """A container's table of mounts is longer than the page that the kernel gives at once."""
        host_id = "5e4d3c2b1a0f49e8d7c6b5a493827160"
        command = " ".join(f"'{part}'" for part in COMMAND)
        script = f"""
            cd '{place}' && mkdir many host && mount -t tmpfs tmpfs many
            for number in $(seq 60); do mkdir many/$number; mount --bind many/$number many/$number; done
            mount -t ramfs ramfs host && echo {host_id} > host/machine-id && mount -o remount,ro host
            test $(wc -c < /proc/self/mountinfo) -gt 5000
            KEYSEAT_HOME='{place}/home' KEYSEAT_HOST_ID_FILE='{place}/host/machine-id' exec {command}
        """
        done = self.unshare("sh", "-e", "-c", script)
        assert 0 == done.returncode, done.stderr
        assert "host-id" == MachineID.parse(done.stdout).instance_source
