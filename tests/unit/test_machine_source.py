"""The real machine behind the probes' interface, and what recordings cannot show."""

import os
import socket
import sys
from pathlib import Path

import pytest

from keyseat_verifier.machine import Source, probe_machine
from keyseat_verifier.machine.explain import explain
from keyseat_verifier.machine.macos import MacSource
from keyseat_verifier.machine.probe import host_source
from keyseat_verifier.machine.source import PosixSource
from keyseat_verifier.machine.windows_source import WindowsSource
from recorded_machines import load

pytestmark = pytest.mark.machine

HOME = {"KEYSEAT_HOME": "/nonexistent"}


class TestPosix:
    SOURCE = PosixSource()

    def test_reads_are_bounded(self) -> None:
        assert 10 == len(self.SOURCE.read_file("/dev/zero", 10))

    def test_a_table_that_the_kernel_gives_in_pages_is_read_to_its_end(self) -> None:
        assert b"[stack]" in self.SOURCE.read_file("/proc/self/maps", 1 << 24)  # the last but a few of its lines

    def test_a_pipe_without_a_writer_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        assert b"" == self.SOURCE.read_file(str(tmp_path / "fifo"))

    def test_names_are_sorted(self, tmp_path: Path) -> None:
        for name in "cab":
            (tmp_path / name).touch()
        assert ["a", "b", "c"] == self.SOURCE.listdir(str(tmp_path))

    def test_links_are_read_and_paths_exist_or_not(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("target")
        assert "target" == self.SOURCE.readlink(str(tmp_path / "link"))
        assert self.SOURCE.exists(str(tmp_path))
        assert not self.SOURCE.exists(str(tmp_path / "link"))

    def test_the_account_is_the_real_uid_whatever_the_variables_say(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("LOGNAME", "USER", "USERNAME", "SUDO_USER"):
            monkeypatch.setenv(name, "mallory")
        account, name = self.SOURCE.account()
        assert str(os.getuid()) == account
        assert "mallory" != name

    def test_a_tool_runs_without_the_callers_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LD_PRELOAD", "")
        monkeypatch.setenv("LANG", "de_DE.UTF-8")
        lines = self.SOURCE.run(["/usr/bin/env"]).decode().splitlines()
        assert {"PATH", "LC_ALL"} == {line.partition("=")[0] for line in lines}

    @pytest.mark.parametrize("argv", [["/bin/false"], ["/bin/sleep", "30"], ["/nonexistent/tool"]])
    def test_a_tool_that_fails_hangs_or_is_missing_is_an_os_error(self, argv: list[str]) -> None:
        with pytest.raises(OSError, match=r"tool|sleep|false|No such"):
            self.SOURCE.run(argv, 0.1)

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="an ioctl of Linux")
    def test_the_driver_of_the_loopback_interface_tells_no_address(self) -> None:
        assert "" == self.SOURCE.permanent_mac("lo").strip("0")

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="an ioctl of Linux")
    def test_an_unknown_interface_is_an_os_error(self) -> None:
        with pytest.raises(OSError, match="device"):
            self.SOURCE.permanent_mac("no-such-if0")

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="an ioctl of Linux")
    def test_the_driver_agrees_with_what_the_kernel_calls_permanent(self) -> None:
        for folder in Path("/sys/class/net").iterdir():
            assigned = (folder / "addr_assign_type").read_text(encoding="ascii")
            # Only adapters that the kernel knows (`/sys` may be a recording), with an address that no bond lends them.
            known = folder.name in {name for _index, name in socket.if_nameindex()} and not (folder / "master").exists()
            if not known or not (folder / "device").exists() or assigned != "0\n":
                continue
            address = (folder / "address").read_text(encoding="ascii").strip().replace(":", "")
            assert address == self.SOURCE.permanent_mac(folder.name)


class TestOtherSystems:
    """Elsewhere the sources of other systems find nothing, and say so in the one way the probes understand."""

    @pytest.mark.skipif(sys.platform == "win32", reason="this is Windows")
    def test_the_windows_source_finds_nothing_here(self) -> None:
        found = probe_machine(source=WindowsSource(), environ=HOME)
        assert () == found.machine_id.kinds
        assert {"absent"} == {note.state for note in found.components}
        assert "physical" == found.environment

    @pytest.mark.skipif(sys.platform == "darwin", reason="this is macOS")
    def test_the_mac_source_finds_no_firmware_here_and_still_tells_the_account(self) -> None:
        found = probe_machine(source=MacSource(), environ=HOME)
        assert ("macos", False) == (found.platform, found.machine_id.has_hardware)
        assert (str(os.getuid())) == MacSource().account()[0]

    def test_a_bare_source_has_nothing(self) -> None:
        class Bare(Source):
            platform = "plan9"

            def exists(self, path: str) -> bool:
                return not path

        found = probe_machine(source=Bare(), environ=HOME)
        assert () == found.machine_id.kinds
        assert "plan9" in explain(found)

    def test_this_machines_source_is_the_host(self) -> None:
        assert host_source().is_host


class TestWords:
    def test_the_processor_of_a_recording_is_told_from_its_registry(self) -> None:
        found = probe_machine(source=load("windows-laptop"), environ=HOME)
        assert "Intel(R) Core(TM) i7-1365U" in explain(found)

    def test_a_recording_without_a_processor_never_asks_this_machine(self) -> None:
        found = probe_machine(source=load("macos-mini"), environ=HOME)
        assert "processor          weight zero: unknown" in explain(found)

    @pytest.mark.parametrize(("name", "sign"), [("linux-kvm", "DMI qemu"), ("windows-hyperv", "BIOS virtual machine")])
    def test_virtual_machines_are_told_by_the_names_in_their_firmware(self, name: str, sign: str) -> None:
        found = probe_machine(source=load(name), environ=HOME)
        assert ("vm", (sign,)) == found.environment_signals

    def test_a_virtual_machine_without_firmware_is_told_by_its_processor(self) -> None:
        machine = load("linux-microvm")
        for path in ("/.dockerenv", "/proc/self/cgroup"):
            machine.files.pop(path, None)
        assert ("vm", ("processor flag",)) == probe_machine(source=machine, environ=HOME).environment_signals

    @pytest.mark.parametrize("name", ["XENIA-W", "P9XXEN", "Maxenergy"])
    def test_a_word_within_another_one_names_no_virtual_machine(self, name: str) -> None:
        machine = load("linux-laptop")
        machine.files["/sys/devices/virtual/dmi/id/product_name"] = name.encode()
        assert ("physical", ()) == probe_machine(source=machine, environ=HOME).environment_signals

    @pytest.mark.parametrize(
        ("name", "sign"), [("VMware7,1", "vmware"), ("HVM domU, Xen 4.1", "xen"), ("(QEMU)", "qemu")]
    )
    def test_a_word_by_itself_does(self, name: str, sign: str) -> None:
        machine = load("linux-laptop")
        machine.files["/sys/devices/virtual/dmi/id/product_name"] = name.encode()
        assert ("vm", (f"DMI {sign}",)) == probe_machine(source=machine, environ=HOME).environment_signals
