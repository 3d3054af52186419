"""What the environment may say about the server, and what it is told where it says it wrongly."""

import os
from pathlib import Path

import pytest

from keyseat_issuer.web.mail import mail_settings
from keyseat_issuer.web.public_url import public_url, trusted_proxies
from keyseat_issuer.web.secret import ensure_secret, read_secret
from keyseat_shared.errors import KeyseatError


@pytest.mark.parametrize(
    ("text", "origin", "host", "https"),
    [
        ("https://License.Example.com", "https://license.example.com", "license.example.com", True),
        (" https://license.example.com:8443/ ", "https://license.example.com:8443", "license.example.com", True),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", "127.0.0.1", False),
        ("http://localhost", "http://localhost", "localhost", False),
        ("https://[2001:db8::1]:444", "https://[2001:db8::1]:444", "[2001:db8::1]", True),
    ],
)
def test_a_public_url_is_an_origin(
    monkeypatch: pytest.MonkeyPatch, text: str, origin: str, host: str, *, https: bool
) -> None:
    monkeypatch.setenv("KEYSEAT_PUBLIC_URL", text)

    assert (origin, host, https) == public_url()


@pytest.mark.parametrize(
    "text",
    [
        "license.example.com",
        "http://license.example.com",
        "https://license.example.com/keyseat",
        "https://user:secret@license.example.com",
        "https://license.example.com:port",
        "https://[",
        "ftp://localhost",
        "https://",
    ],
)
def test_anything_else_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("KEYSEAT_PUBLIC_URL", text)

    with pytest.raises(KeyseatError, match="KEYSEAT_PUBLIC_URL") as caught:
        public_url()
    assert "secret" not in str(caught.value)


def test_no_proxy_is_trusted_unless_told_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYSEAT_TRUSTED_PROXIES", raising=False)
    assert 0 == trusted_proxies()
    monkeypatch.setenv("KEYSEAT_TRUSTED_PROXIES", "2")
    assert 2 == trusted_proxies()
    digit = os.fsdecode("٣".encode())  # as it comes from a shell, whatever the locale makes of it
    for wrong in ("-1", "all", "11", digit, "1.5"):
        monkeypatch.setenv("KEYSEAT_TRUSTED_PROXIES", wrong)
        with pytest.raises(KeyseatError, match="KEYSEAT_TRUSTED_PROXIES"):
            trusted_proxies()


class TestTheSecret:
    def test_is_made_once_and_for_its_owner_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KEYSEAT_SECRET_KEY", raising=False)
        monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(tmp_path / "issuer"))
        assert "" == read_secret()
        ensure_secret()
        made = read_secret()
        ensure_secret()

        assert made == read_secret()
        assert len(made) >= 50
        assert 0o600 == (tmp_path / "issuer" / "web-secret").stat().st_mode & 0o777

    def test_comes_from_the_environment_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(tmp_path))
        monkeypatch.setenv("KEYSEAT_SECRET_KEY", "s" * 50)
        ensure_secret()

        assert "s" * 50 == read_secret()
        assert [] == list(tmp_path.iterdir())

    def test_that_is_short_or_unreadable_is_refused_without_repeating_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(tmp_path))
        monkeypatch.setenv("KEYSEAT_SECRET_KEY", "hunter2")
        with pytest.raises(KeyseatError, match="fewer than 50") as caught:
            read_secret()
        assert "hunter2" not in str(caught.value)
        monkeypatch.delenv("KEYSEAT_SECRET_KEY")
        (tmp_path / "web-secret").mkdir()
        with pytest.raises(KeyseatError, match="cannot read"):
            read_secret()


class TestMail:
    def test_goes_nowhere_where_no_server_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("EMAIL_URL", raising=False)

        assert "django.core.mail.backends.dummy.EmailBackend" == mail_settings().backend

    def test_goes_to_the_server_that_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EMAIL_URL", "smtp+tls://ada:p%40ss@mail.example.com:587")
        monkeypatch.setenv("KEYSEAT_MAIL_FROM", "licences@example.com")
        found = mail_settings()

        assert ("mail.example.com", 587, "ada", "p@ss", True, False, "licences@example.com") == (
            found.host,
            found.port,
            found.user,
            found.password,
            found.use_tls,
            found.use_ssl,
            found.sender,
        )

    @pytest.mark.parametrize("url", ["mail.example.com", "pigeon://ada:hunter2@mail", "smtp://ada:hunter2@mail:port"])
    def test_settings_that_make_no_sense_are_refused_without_the_password(
        self, monkeypatch: pytest.MonkeyPatch, url: str
    ) -> None:
        monkeypatch.setenv("EMAIL_URL", url)

        with pytest.raises(KeyseatError, match="EMAIL_URL") as caught:
            mail_settings()
        assert "hunter2" not in str(caught.value)
