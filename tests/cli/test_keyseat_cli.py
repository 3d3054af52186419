"""The `keyseat` command: contract exit codes, JSON or people, never a traceback, nothing that steers a terminal."""

import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from freezegun import freeze_time

from accounts import HOW, can_become, run_script
from keyseat_shared import files
from keyseat_shared.envelope import LICENSE_TYPE
from keyseat_verifier.cli import main
from keyseat_verifier.cli._options import Command
from keyseat_verifier.cli._terminal import clean, has_colour, mark
from vendor import MACHINE, NOW, OTHER_MACHINE, OTHER_USER, Vendor, envelope

pytestmark = pytest.mark.machine

VENDOR = Vendor()
MID = str(MACHINE)
STEPS = ["envelope", "signature", "format", "key", "product", "annual", "sunset", "expiry", "machine", "clock"]
DENIED = ["denied"] if os.geteuid() else []  # file modes do not bind root


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSEAT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KEYSEAT_TRUST", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trust.json").write_bytes(VENDOR.bundle_bytes())


def put(name: str, data: bytes) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(data)
    return name


def verify(name: str, *more: str, at: str = "2023-12-01T12:00:00Z") -> int:
    return main(["verify", name, "--trust", "trust.json", "--machine-id", MID, "--at", at, *more])


class TestVerify:
    def test_a_valid_licence_is_exit_0_with_a_mark_for_each_check(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert verify(put("a.lic", VENDOR.license())) == 0
        out, err = capsys.readouterr()
        lines = out.splitlines()
        assert lines[0] == "a.lic: VALID"
        assert [line.split()[:2] for line in lines[1:]] == [["✓", name] for name in STEPS]
        assert err == ""

    @pytest.mark.parametrize(
        ("data", "code", "exit_code"),
        [
            (VENDOR.license(), "OK", 0),
            (VENDOR.license(subscription__term="monthly"), "NOT_ANNUAL", 1),
            (VENDOR.license(issued_at="2024-01-17T00:00:00Z"), "ISSUED_AFTER_SUNSET", 1),
            (VENDOR.license(expires_at="2023-12-01T12:00:00Z"), "EXPIRED", 1),
            (VENDOR.license(expires_at="2024-06-02T00:00:00Z"), "EXPIRY_AFTER_SUBSCRIPTION", 1),
            (VENDOR.license(machine_id=str(OTHER_MACHINE)), "MACHINE_MISMATCH", 1),
            (VENDOR.license(machine_id=str(OTHER_USER)), "USER_MISMATCH", 1),
            (VENDOR.lease(), "UNSUPPORTED_FORMAT", 1),
            (VENDOR.test_license(), "TEST_LICENSE", 1),
            (VENDOR.signed(VENDOR.payload(), VENDOR.lease_key), "KEY_NOT_VALID", 1),
            (Vendor(name="other").license(), "UNKNOWN_KEY", 1),
            (b"", "MALFORMED", 1),
            (b"x" * 10_000_000, "MALFORMED", 1),
            (b"\0" * 100, "MALFORMED", 1),
            (VENDOR.license().decode().encode("utf-16"), "MALFORMED", 1),
            (VENDOR.license()[:500], "MALFORMED", 1),
            (b"[" * 50_000, "MALFORMED", 1),
        ],
    )
    def test_json_is_one_object_of_exactly_the_contract(
        self, capsys: pytest.CaptureFixture[str], data: bytes, code: str, exit_code: int
    ) -> None:
        assert verify(put("a.lic", data), "--json") == exit_code
        found = json.loads(capsys.readouterr().out)
        assert list(found) == ["valid", "code", "checks", "license", "next"]
        assert (found["valid"], found["code"]) == (exit_code == 0, code)
        assert [set(check) for check in found["checks"]] == [{"name", "ok", "code", "detail"}] * len(STEPS)
        assert [check["name"] for check in found["checks"]] == STEPS
        assert found["license"] == (VENDOR.payload() if exit_code == 0 else None)

    def test_the_last_second_is_valid_and_the_next_is_not(self) -> None:
        name = put("a.lic", VENDOR.license())
        assert verify(name, at="2024-05-31T23:59:59Z") == 0
        assert verify(name, at="2024-06-01T00:00:00Z") == 1

    def test_a_date_is_its_first_instant(self) -> None:
        name = put("a.lic", VENDOR.license())
        assert verify(name, at="2024-05-31") == 0
        assert verify(name, at="2024-06-01") == 1

    def test_the_wrong_product_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert verify(put("a.lic", VENDOR.license()), "--product", "KRE") == 1
        assert "a KSE licence cannot be used for KRE" in capsys.readouterr().out

    def test_a_test_licence_says_that_the_machine_id_is_correct(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert verify(put("a.lic", VENDOR.test_license()), "--test") == 0
        assert capsys.readouterr().out.startswith("a.lic: the machine ID is correct")

    @pytest.mark.parametrize("make", ["missing", "folder", "fifo", *DENIED, "loop", "nul", "long", "device", "endless"])
    @pytest.mark.parametrize("option", ["FILE", "--trust"])
    def test_odd_files_are_could_not_check(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, make: str, option: str
    ) -> None:
        monkeypatch.setattr(files, "PIPE_SECONDS", 0.01)
        path = {"folder": ".", "nul": "a\0b", "long": "x" * 5000, "device": os.devnull, "endless": "/dev/zero"}.get(
            make, "odd"
        )
        if make == "fifo":
            os.mkfifo("odd")
        elif make == "loop":
            Path("odd").symlink_to("odd")
        elif make == "denied":
            put("odd", VENDOR.license())
            Path("odd").chmod(0)
        file, trust = (path, "trust.json") if option == "FILE" else (put("a.lic", VENDOR.license()), path)
        assert main(["verify", file, "--trust", trust, "--machine-id", MID, "--at", "2023-12-01", "--json"]) == 3
        found = json.loads(capsys.readouterr().out)
        assert (found["code"], found["checks"]) == ("UNREADABLE", [])

    @pytest.mark.parametrize("option", ["FILE", "--trust"])
    def test_a_pipe_that_somebody_writes_is_read(self, option: str) -> None:
        """Process substitution of a shell: ``keyseat verify <(ssh vault cat a.lic)``."""
        data = VENDOR.license() if option == "FILE" else VENDOR.bundle_bytes()
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as writer:
            writer.write(data)
        pipe = f"/dev/fd/{reading}"
        file, trust = (pipe, "trust.json") if option == "FILE" else (put("a.lic", VENDOR.license()), pipe)
        assert main(["verify", file, "--trust", trust, "--machine-id", MID, "--at", "2023-12-01"]) == 0
        os.close(reading)

    def test_standard_input_is_a_dash(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(VENDOR.license())))
        assert verify("-") == 0

    def test_standard_input_that_is_closed_is_could_not_check(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.stdin", None)  # as Python starts with `<&-`
        assert verify("-") == 3
        assert "UNREADABLE: cannot read standard input: it is closed\n" in capsys.readouterr().err

    def test_standard_input_that_cannot_be_read_is_could_not_check(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with os.fdopen(os.open("log", os.O_WRONLY | os.O_CREAT), encoding="utf-8") as write_only:  # `0> log`
            monkeypatch.setattr("sys.stdin", write_only)
            assert verify("-") == 3
        assert "UNREADABLE: cannot read standard input: bad file descriptor\n" in capsys.readouterr().err

    def test_a_mistyped_machine_id_is_wrong_usage_and_shows_the_place(self, capsys: pytest.CaptureFixture[str]) -> None:
        wrong = MID[:10] + ("q" if MID[10] != "q" else "p") + MID[11:]
        put("a.lic", VENDOR.license())
        code = main(["verify", "a.lic", "--trust", "trust.json", "--at", "2023-12-01", "--machine-id", wrong])
        assert code == 2
        assert "character 11" in capsys.readouterr().out

    def test_this_machine_is_probed_with_its_instance_file(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["machine-id", "--instance", "instance"]) == 0
        mid = capsys.readouterr().out.strip()
        put("a.lic", VENDOR.license(machine_id=mid))
        options = ["verify", "a.lic", "--trust", "trust.json", "--at", "2023-12-01"]
        assert main([*options, "--instance", "instance"]) == 0
        assert main([*options, "--instance", "nowhere"]) == 3
        assert not Path("nowhere").exists()


class TestTrust:
    def test_without_a_bundle_could_not_check_and_says_what_to_do(self, capsys: pytest.CaptureFixture[str]) -> None:
        put("a.lic", VENDOR.license())
        assert main(["verify", "a.lic"]) == 3
        assert "Pass --trust FILE" in capsys.readouterr().err

    @pytest.mark.parametrize("way", ["environment", "home"])
    def test_is_found_without_the_option(self, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
        put("a.lic", VENDOR.license())
        if way == "environment":
            monkeypatch.setenv("KEYSEAT_TRUST", "trust.json")
        else:
            put("home/trust.json", VENDOR.bundle_bytes())
        assert main(["verify", "a.lic", "--machine-id", MID, "--at", "2023-12-01"]) == 0

    @pytest.mark.parametrize("data", [b"", b"{}", VENDOR.license(), b"\xff"])
    def test_a_bundle_that_is_none_is_could_not_check(self, capsys: pytest.CaptureFixture[str], data: bytes) -> None:
        put("trust.json", data)
        assert verify(put("a.lic", VENDOR.license()), "--json") == 3
        assert json.loads(capsys.readouterr().out)["code"] == "TRUST_INVALID"

    def test_example_keys_need_the_option(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keyseat_shared.trust.EXAMPLE_PUBLIC_KEYS", frozenset({VENDOR.key.public.raw}))
        name = put("a.lic", VENDOR.license())
        assert verify(name) == 3
        assert verify(name, "--allow-example-keys") == 0


class TestClock:
    def check(self) -> int:
        return main(["verify", "a.lic", "--trust", "trust.json", "--machine-id", MID])

    def test_set_back_after_a_check_is_noticed(self, capsys: pytest.CaptureFixture[str]) -> None:
        put("a.lic", VENDOR.license(issued_at="2023-12-01T12:00:00Z"))
        with freeze_time(NOW):
            assert self.check() == 0
        put("a.lic", VENDOR.license())
        with freeze_time("2023-11-30T12:00:00Z"):
            assert self.check() == 1
        assert "CLOCK_ROLLED_BACK" in capsys.readouterr().out
        with freeze_time("2023-12-02T12:00:00Z"):
            assert self.check() == 0

    def test_a_what_if_neither_reads_nor_writes_it(self) -> None:
        name = put("a.lic", VENDOR.license())
        assert verify(name) == 0
        assert not Path("home").exists()
        with freeze_time(NOW):
            assert self.check() == 0
        assert verify(name, at="2023-07-01") == 0


class TestInspect:
    @pytest.mark.parametrize(
        ("data", "kind"),
        [
            (VENDOR.license(), "licence"),
            (VENDOR.test_license(), "test licence"),
            (VENDOR.lease(), "lease"),
            (VENDOR.bundle_bytes(), "trust bundle"),
            (Vendor(name="other").license(subscription__term="monthly"), "licence"),
        ],
    )
    def test_shows_every_kind_and_marks_each_line(
        self, capsys: pytest.CaptureFixture[str], data: bytes, kind: str
    ) -> None:
        assert main(["inspect", put("a.lic", data)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert all(line.startswith("NOT VERIFIED") for line in lines)
        assert any(line.startswith("NOT VERIFIED | kind") and kind in line for line in lines)

    def test_json_says_that_nothing_was_verified(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["inspect", put("a.lic", VENDOR.license()), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["verified"], found["unverified_payload"]) == (False, VENDOR.payload())

    def test_unverified_text_cannot_steer_the_terminal_or_fake_a_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        evil = "\x1b[2J\x9b31m\nVALID\u202e"
        data = envelope(LICENSE_TYPE, VENDOR.payload(user=evil, organization__name=evil), [VENDOR.key])
        assert main(["inspect", put("a.lic", data)]) == 0
        out = capsys.readouterr().out
        assert not set(out) & set("\x1b\x9b\u202e")
        assert all(line.startswith("NOT VERIFIED") for line in out.splitlines())

    def test_what_is_no_file_of_ours_is_malformed(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["inspect", put("a.lic", b"junk"), "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["code"] == "MALFORMED"

    def test_wrong_usage_is_answered_in_json_too(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["inspect", "--json"]) == 2
        assert json.loads(capsys.readouterr().out)["code"] == "INVALID_INPUT"


class TestStatus:
    def status(self, *more: str) -> int:
        return main(["status", "--trust", "trust.json", "--machine-id", MID, "--at", "2023-12-01", *more])

    def test_shows_each_product_with_its_files_and_what_to_do(self, capsys: pytest.CaptureFixture[str]) -> None:
        put("home/license/kse.lic", VENDOR.license())
        put("home/license/old.lic", VENDOR.license(2, product="KRE", expires_at="2023-07-01T00:00:00Z"))
        assert self.status() == 0
        out = capsys.readouterr().out
        assert "KSE: entitled (offline) until 2024-06-01T00:00:00Z, 183 days left" in out
        assert "KRE: not entitled, EXPIRED" in out
        assert "next: The offline licence has ended. Activate online." in out

    @pytest.mark.parametrize(
        ("typed", "guess"), [("KES", "Did you mean KSE? "), ("kre", "Did you mean KRE? "), ("X" * 50, "")]
    )
    @pytest.mark.parametrize("command", ["status", "activate", "release"])
    def test_a_product_that_the_catalogue_lacks_is_wrong_usage_with_a_guess(
        self, capsys: pytest.CaptureFixture[str], command: str, typed: str, guess: str
    ) -> None:
        assert main([command, "--trust", "trust.json", "--product", typed, "--json"]) == 2
        found = json.loads(capsys.readouterr().out)
        assert ("INVALID_INPUT", f"{guess}It has KRE, KSE.") == (found["code"], found["next"])
        assert f"the vendor's catalogue has no product {typed[:40]!r}" == found["message"]

    def test_json_holds_every_product(self, capsys: pytest.CaptureFixture[str]) -> None:
        put("home/license/kse.lic", VENDOR.license())
        assert self.status("--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["entitled"] is True
        assert [(p["product"], p["entitled"], p["code"]) for p in found["products"]] == [
            ("KRE", False, "NO_LICENSE"),
            ("KSE", True, "OK"),
        ]

    def test_each_product_has_its_own_files_only(self, capsys: pytest.CaptureFixture[str]) -> None:
        put("home/license/kse.lic", VENDOR.license())
        put("home/license/another.lic", VENDOR.license(2, product="ABC"))
        assert self.status("--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert [[Path(file["path"]).name for file in p["files"]] for p in found["products"]] == [
            ["another.lic"],
            ["another.lic", "kse.lic"],
        ]

    def test_a_product_asked_for_shows_the_files_of_others(self, capsys: pytest.CaptureFixture[str]) -> None:
        put("home/license/kse.lic", VENDOR.license())
        assert self.status("--product", "KRE") == 1
        out = capsys.readouterr().out
        assert "KRE: not entitled, WRONG_PRODUCT" in out
        assert "kse.lic: WRONG_PRODUCT, a KSE licence cannot be used for KRE" in out

    def test_without_a_licence_is_exit_1_and_names_the_folder(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.status("--product", "KSE") == 1
        out = capsys.readouterr().out
        assert "KSE: not entitled, NO_LICENSE" in out
        assert "keyseat machine-id" in out

    @pytest.mark.parametrize("licences", [[], [VENDOR.license()]])
    def test_a_mistyped_machine_id_is_wrong_usage_whatever_lies_there(
        self, capsys: pytest.CaptureFixture[str], licences: list[bytes]
    ) -> None:
        for data in licences:
            put("home/license/a.lic", data)
        wrong = MID[:10] + ("q" if MID[10] != "q" else "p") + MID[11:]
        assert main(["status", "--trust", "trust.json", "--machine-id", wrong]) == 2
        out, err = capsys.readouterr()
        assert ("", True) == (out, "character 11" in err)

    def test_an_unknown_option_is_wrong_usage_also_in_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.status("--jsno") == 2
        assert "did you mean --json?" in capsys.readouterr().err
        assert self.status("--json", "--nope") == 2
        assert json.loads(capsys.readouterr().out)["code"] == "INVALID_INPUT"


class TestStreams:
    """The program as a process, with streams that are closed or full."""

    COMMAND = (sys.executable, "-c", "import sys; from keyseat_verifier.cli import main; sys.exit(main())")

    def verify(self, redirection: str) -> "subprocess.CompletedProcess[str]":
        put("a.lic", VENDOR.license())
        argv = ("verify", "a.lic", "--trust", "trust.json", "--machine-id", MID, "--at", "2023-12-01")
        shell = ("sh", "-c", f'"$@" {redirection}', "sh")
        return subprocess.run([*shell, *self.COMMAND, *argv], capture_output=True, check=False, text=True)

    @pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-"])
    def test_closed_streams_do_not_change_the_verdict(self, redirection: str) -> None:
        done = self.verify(redirection)
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
    def test_a_result_that_cannot_be_written_is_neither_yes_nor_no(self) -> None:
        done = self.verify("> /dev/full")
        assert (done.returncode, done.stderr) == (3, "the result cannot be written: no space left on device\n")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
    @pytest.mark.parametrize(
        ("command", "code"),
        [
            ("verify a.lic --trust nowhere.json", 3),
            ("inspect nowhere.lic", 3),
            ("nonsense", 2),
            ("", 2),
            ("machine-id --instance instance-id", 0),
        ],
    )
    def test_words_for_people_that_cannot_be_written_do_not_change_the_exit_code(self, command: str, code: int) -> None:
        shell = ("sh", "-c", '"$@" 2> /dev/full', "sh")
        done = subprocess.run([*shell, *self.COMMAND, *command.split()], capture_output=True, check=False)
        assert code == done.returncode

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
    def test_no_stream_that_can_be_written_is_could_not_check(self) -> None:
        assert 3 == self.verify("> /dev/full 2>&1").returncode


class TestFrame:
    @pytest.mark.parametrize("word", ["--help", "-h", "help"])
    def test_help_lists_the_commands(self, capsys: pytest.CaptureFixture[str], word: str) -> None:
        assert main([word]) == 0
        out = capsys.readouterr().out
        assert all(command in out for command in ("machine-id", "verify", "inspect", "status", "activate"))

    @pytest.mark.parametrize("command", ["verify", "inspect", "status", "activate", "release", "login"])
    def test_every_command_has_help(self, capsys: pytest.CaptureFixture[str], command: str) -> None:
        assert main([command, "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"usage: keyseat {command}")

    def test_help_about_a_command_is_that_commands(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["help", "status"]) == 0
        assert capsys.readouterr().out.startswith("usage: keyseat status ")

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--version"]) == 0
        assert capsys.readouterr().out.startswith("keyseat 1.")

    def test_nothing_is_wrong_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([]) == 2
        assert "usage: keyseat" in capsys.readouterr().err

    def test_an_unknown_command_gets_a_guess(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["verfy"]) == 2
        assert "did you mean verify?" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("argv", "said"),
        [
            (["verfy", "a.lic"], "there is no command 'verfy' (did you mean verify?)"),
            ([], "a command comes first, not '--json'"),
            (["--bogus", "status"], "a command comes first, not '--bogus'"),
            (["machine-id", "--bogus"], "unrecognized arguments: --bogus"),
            (["machine-id", "extra\x1b[2J"], "unrecognized arguments: extra\x1b[2J"),
            (["machine-id", "--request"], "argument --request: expected one argument"),
            (["verify"], None),
            (["inspect"], "FILE is missing"),
            (["status", "--bogus"], "unknown option '--bogus'"),
            (["activate", "--bogus"], "unknown option '--bogus'"),
            (["release", "--bogus"], "unknown option '--bogus'"),
            (["login", "--bogus"], "unknown option '--bogus'"),
            (["logout", "extra"], "unexpected argument 'extra'"),
        ],
    )
    def test_wrong_usage_is_one_json_object_where_json_is_asked_for(
        self, capsys: pytest.CaptureFixture[str], argv: list[str], said: str | None
    ) -> None:
        assert main([*argv, "--json"]) == 2
        out, err = capsys.readouterr()
        found = json.loads(out)
        assert ("INVALID_INPUT", said) == (found["code"], found.get("message"))
        assert found["next"].startswith(("usage: keyseat ", "`keyseat --help` "))
        assert err.startswith("INVALID_INPUT: ")
        assert "\x1b" not in err

    @pytest.mark.parametrize(
        ("argv", "said"),
        [
            (["verify"], "FILE is missing"),
            (["verify", "a", "b"], "unexpected argument 'b'"),
            (["verify", "a", "--at"], "--at needs a value (TIME)"),
            (["verify", "a", "--json=yes"], "--json takes no value"),
            (["verify", "a", "--at", "tomorrow"], "'tomorrow' is not a date"),
            (["inspect"], "FILE is missing"),
        ],
    )
    def test_wrong_usage_is_exit_2_and_says_why(
        self, capsys: pytest.CaptureFixture[str], argv: list[str], said: str
    ) -> None:
        assert main(argv) == 2
        assert said in capsys.readouterr().err

    def test_options_may_be_written_with_an_equals_sign_and_ended(self) -> None:
        command = Command("usage", "summary", {"--at": ("TIME", "a time")}, ["FILE"])
        assert command.parse(["--at=x", "--", "--file"]) == {"--at": "x", "FILE": "--file"}

    def test_control_c_is_exit_130(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(_argv: list[str]) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr("keyseat_verifier.cli.inspect.run", stop)
        assert main(["inspect", "x"]) == 130

    def test_a_reader_that_goes_away_is_no_traceback(self) -> None:
        put("a.lic", VENDOR.bundle_bytes())
        reading, writing = os.pipe()
        os.close(reading)
        script = "import sys; from keyseat_verifier.cli import main; sys.exit(main(['inspect', 'a.lic']))"
        ended = subprocess.run(
            [sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, check=False, text=True
        )
        os.close(writing)
        assert (ended.stderr, ended.returncode in {0, 3}) == ("", True)

    def test_an_ascii_terminal_gets_words_for_marks(self) -> None:
        put("a.lic", VENDOR.license())
        script = "import sys; from keyseat_verifier.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", script, "verify", "a.lic", "--trust", "trust.json", "--machine-id", MID]
        ended = subprocess.run(
            [*command, "--at", "2023-12-01"],
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            check=True,
        )
        assert ended.stdout.splitlines()[1].split() == [b"ok", b"envelope", *b"1,009 bytes, 1 signature".split()]


class TestTerminal:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("plain ünïcode", "plain ünïcode"),
            ("two\nlines", "two\nlines"),
            ("\x1b[31mred", "\\x1b[31mred"),
            ("c1 \x9b", "c1 \\x9b"),
            ("\u202eturned", "\\u202eturned"),
            ("bell\a\r", "bell\\x07\\r"),
            ("half \udcff", "half \\udcff"),
        ],
    )
    def test_what_is_not_printable_is_escaped(self, text: str, shown: str) -> None:
        assert clean(text) == shown

    def test_colours_are_for_people_who_want_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        assert (has_colour(Terminal()), has_colour(io.StringIO())) == (True, False)
        monkeypatch.setenv("NO_COLOR", "1")
        assert not has_colour(Terminal())
        monkeypatch.delenv("NO_COLOR")
        monkeypatch.setenv("TERM", "dumb")
        assert not has_colour(Terminal())

    def test_marks_never_rely_on_colour_alone(self) -> None:
        assert len({mark(ok)[0] for ok in (True, False, None)}) == 3


@pytest.mark.skipif(not can_become(), reason=HOW)
def test_another_account_on_the_same_machine_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other accounts
        monkeypatch.setenv("KEYSEAT_HOME", name)
        Path(name).chmod(0o755)
        assert main(["machine-id", "--instance", f"{name}/instance-id"]) == 0
        mid = capsys.readouterr().out.strip()
        put(f"{name}/a.lic", VENDOR.license(machine_id=mid))
        put(f"{name}/trust.json", VENDOR.bundle_bytes())
        # A root-owned instance file is trusted by every account that may read it.
        Path(name, "instance-id").chmod(0o644)
        script = f"""
import sys
from accounts import become
import keyseat_shared.matching  # Python itself may be out of the other account's reach
from keyseat_verifier.cli import main
command = ["verify", "{name}/a.lic", "--at", "2023-12-01", "--json"]
assert main(command) == 0
become(12345)
sys.exit(main(command))
"""
        ended = run_script(script)
    before, after = map(json.loads, ended.stdout.splitlines())
    assert (before["code"], after["code"], ended.returncode) == ("OK", "USER_MISMATCH", 1)


def test_a_fifo_in_the_licence_folder_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    Path("home/license").mkdir(parents=True)
    os.mkfifo("home/license/pipe.lic")
    assert exit_soon(["status", "--trust", "trust.json", "--product", "KSE", "--machine-id", MID]) == 3
    assert "pipe.lic': it is a pipe, not a file" in capsys.readouterr().out


def test_a_fifo_where_the_trust_bundle_is_kept_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    Path("home").mkdir()
    os.mkfifo("home/trust.json")
    assert exit_soon(["status"]) == 3
    assert "trust.json': it is a pipe, not a file" in capsys.readouterr().err


def exit_soon(command: list[str]) -> int | None:
    """Return the exit code of a command, or ``None`` where it waits."""
    ended: list[int] = []
    thread = threading.Thread(target=lambda: ended.append(main(command)), daemon=True)
    thread.start()
    thread.join(20)
    return ended[0] if ended else None
