"""What a call is signed in with: API key or stored tokens; refreshed once, by one process, and kept to oneself."""

import contextlib
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from keyseat_shared.errors import KeyseatError
from keyseat_verifier.client.slots import lock_file
from keyseat_verifier.online.config import ServerConfig
from keyseat_verifier.online.credentials import Credentials
from keyseat_verifier.online.oauth import Granted
from keyseat_verifier.online.transport import Deadline, Transport
from loopback import Listener, Script, answer
from vendor import NOW

NEW = answer(b'{"access_token": "ksu_2", "refresh_token": "ksr_2", "expires_in": 600}')
REFUSED = answer(b'{"error": "invalid_grant"}', "400 Bad Request")
KEY = "ksk_12345678_" + "s" * 38


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@contextlib.contextmanager
def signed_in(home: Path, *answers: bytes, expires_in: int = 600) -> Iterator[tuple[Credentials, Script]]:
    """Credentials with stored tokens, of a server that answers so."""
    script = Script(*answers)
    with Listener(script).accepting() as listener:
        found = credentials(home, f"http://127.0.0.1:{listener.port}")
        found.store(Granted("ksu_1", "ksr_1", expires_in), NOW)
        yield found, script


def credentials(home: Path, url: str = "http://127.0.0.1:9", **environ: str) -> Credentials:
    return Credentials(str(home), ServerConfig(url), environ, Transport(url))


def refusal(call: object, *arguments: object, **named: object) -> KeyseatError:
    with pytest.raises(KeyseatError) as caught:
        call(*arguments, **named)  # type: ignore[operator]
    return caught.value


class TestBearer:
    def test_is_the_api_key_for_floating_sessions_and_never_for_a_users_seat(self, home: Path) -> None:
        found = credentials(home, KEYSEAT_API_KEY=KEY)
        found.store(Granted("ksu_1", "ksr_1", 600), NOW)

        assert KEY == found.bearer("KRE", NOW, Deadline(60), named=False)
        assert "ksu_1" == found.bearer("KSE", NOW, Deadline(60), named=True)

    def test_is_refreshed_a_minute_before_it_ends(self, home: Path) -> None:
        with signed_in(home, NEW) as (found, script):
            assert "ksu_1" == found.bearer("KSE", NOW + timedelta(seconds=539), Deadline(60), named=True)
            assert [] == script.requests
            assert "ksu_2" == found.bearer("KSE", NOW + timedelta(seconds=540), Deadline(60), named=True)

        assert b"refresh_token=ksr_1" in script.requests[0][1]
        kept = json.loads((home / "credentials.json").read_text())
        assert ("ksu_2", "ksr_2", "2023-12-01T12:19:00Z") == (
            kept["access_token"],
            kept["refresh_token"],
            kept["expires_at"],
        )

    def test_is_missing_where_nobody_is_signed_in(self, home: Path) -> None:
        error = refusal(credentials(home).bearer, "KSE", NOW, Deadline(60), named=True)
        assert ("NOT_ALLOWED", "missing") == (error.code, error.details["reason"])


class TestRefreshing:
    def test_takes_the_pair_that_another_process_got_meanwhile(self, home: Path) -> None:
        with signed_in(home, NEW) as (found, script):
            assert "ksu_1" == found.refreshed("ksu_0", NOW, Deadline(60))
            assert [] == script.requests

    def test_forgets_a_sign_in_that_has_ended(self, home: Path) -> None:
        with signed_in(home, REFUSED) as (found, _):
            error = refusal(found.refreshed, "ksu_1", NOW, Deadline(60))

            assert ("NOT_ALLOWED", "expired") == (error.code, error.details["reason"])
            assert "`keyseat login`" in error.next_step
            assert not (home / "credentials.json").exists()
            assert "NOT_ALLOWED" == refusal(found.refreshed, "ksu_1", NOW, Deadline(60)).code

    def test_keeps_a_sign_in_that_the_server_cannot_tell_of_now(self, home: Path) -> None:
        with signed_in(home, answer(b"", "503 Service Unavailable")) as (found, _):
            assert "SERVER_UNREACHABLE" == refusal(found.refreshed, "ksu_1", NOW, Deadline(60)).code
            assert found.tokens() is not None

    def test_does_not_wait_for_ever_for_another_process(self, home: Path) -> None:
        with signed_in(home, NEW) as (found, script):
            other = lock_file(f"{found.path}.lock")
            assert other is not None
            error = refusal(found.refreshed, "ksu_1", NOW, Deadline(0.15))
            other.release()

            assert ("SERVER_UNREACHABLE", []) == (error.code, script.requests)
            assert "another process" in error.message
            assert "ksu_2" == found.refreshed("ksu_1", NOW, Deadline(60))

    def test_says_where_nothing_can_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"a file where the folder should be")
        found = credentials(tmp_path / "file" / "home")

        for error in (
            refusal(found.refreshed, "ksu_1", NOW, Deadline(60)),
            refusal(found.store, Granted("ksu_1", "ksr_1", 600), NOW),
        ):
            assert ("UNREADABLE", True) == (error.code, "KEYSEAT_HOME" in error.next_step)
            assert "credentials.json cannot be written: not a directory" in error.message


class TestTokens:
    def test_are_for_the_server_that_gave_them_only(self, home: Path) -> None:
        credentials(home, "https://one.example").store(Granted("ksu_1", "ksr_1", 600), NOW)

        assert credentials(home, "https://two.example").tokens() is None
        assert credentials(home, "https://one.example").tokens() is not None

    def test_lie_in_a_file_for_their_owner(self, home: Path) -> None:
        found = credentials(home)
        stored = found.store(Granted("ksu_1", "ksr_1", 600), NOW)

        assert 0o600 == Path(found.path).stat().st_mode & 0o777
        assert "<Tokens for http://127.0.0.1:9 until 2023-12-01T12:10:00Z>" == repr(stored)

    @pytest.mark.parametrize("data", [b"", b"{}", b"junk", b'{"format": 2}', b"[" * 70_000])
    def test_that_are_none_count_as_nobody_signed_in(self, home: Path, data: bytes) -> None:
        home.mkdir()
        (home / "credentials.json").write_bytes(data)

        assert (None, "none") == (credentials(home).tokens(), credentials(home).describe())

    def test_are_forgotten_without_a_word_where_there_are_none(self, home: Path) -> None:
        found = credentials(home)
        found.forget()
        assert found.tokens() is None

    def test_and_keys_are_described_in_words(self, home: Path) -> None:
        assert "API key" == credentials(home, KEYSEAT_API_KEY=KEY).describe()
        found = credentials(home)
        assert "none" == found.describe()
        found.store(Granted("ksu_1", "ksr_1", 600), NOW)
        assert "signed in" == found.describe()
        assert "API key, signed in" == credentials(home, KEYSEAT_API_KEY=KEY).describe()
