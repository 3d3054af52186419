"""Which server is asked and with what: server.json, the environment over it, and what each mistake is told as."""

import json
import os
from pathlib import Path

import pytest

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_verifier.online.config import ServerConfig, api_key, is_loopback, load_config, save_server

URL = "https://licenses.example.com"
ORGANIZATION = "01890a5d-ac96-774b-bcce-b302099a8057"
OTHER = "01890a5d-ac96-774b-bcce-b302099a8058"
KEY = "ksk_12345678_" + "s" * 38


def write(home: Path, **value: object) -> None:
    (home / "server.json").write_text(json.dumps(value))


def refusal(call: object, *arguments: object) -> KeyseatError:
    with pytest.raises(KeyseatError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value


class TestLoading:
    def test_nothing_named_is_no_server(self, tmp_path: Path) -> None:
        assert load_config(str(tmp_path), {}) is None
        assert load_config(str(tmp_path), {"KEYSEAT_SERVER": ""}) is None

    def test_the_file_holds_everything(self, tmp_path: Path) -> None:
        write(tmp_path, url=f"{URL}/", organization=ORGANIZATION, api_key_file="/k", ca_bundle="/ca")
        assert ServerConfig(URL, ORGANIZATION, "/k", "/ca") == load_config(str(tmp_path), {})

    def test_the_environment_goes_before_it(self, tmp_path: Path) -> None:
        write(tmp_path, url=URL, organization=ORGANIZATION, api_key_file="/k", ca_bundle="/ca")
        given = {"KEYSEAT_ORGANIZATION": OTHER.upper(), "KEYSEAT_API_KEY_FILE": "/k2", "KEYSEAT_CA_BUNDLE": "/ca2"}
        assert ServerConfig(URL, OTHER, "/k2", "/ca2") == load_config(str(tmp_path), given)

    def test_an_organisation_by_its_name_is_answered_with_where_ids_are_told(self, tmp_path: Path) -> None:
        error = refusal(load_config, str(tmp_path), {"KEYSEAT_SERVER": URL, "KEYSEAT_ORGANIZATION": "Acme"})

        assert ReasonCode.INVALID_INPUT is error.code
        assert "'Acme' is not the id of an organisation (KEYSEAT_ORGANIZATION or --organization)" == error.message

    def test_a_key_kept_for_one_server_is_not_sent_to_another(self, tmp_path: Path) -> None:
        write(tmp_path, url=URL, api_key_file="/k")
        other = {"KEYSEAT_SERVER": "https://elsewhere.example"}
        assert ServerConfig("https://elsewhere.example") == load_config(str(tmp_path), other)

    @pytest.mark.parametrize(
        "data",
        ["", "[]", "{}", '{"url": 1}', '{"url": "https://a", "x": 1}', '{"url": "https://a", "organization": "a"}'],
    )
    def test_a_file_of_another_shape_says_how_to_write_it(self, tmp_path: Path, data: str) -> None:
        (tmp_path / "server.json").write_text(data)
        error = refusal(load_config, str(tmp_path), {})

        assert ("INVALID_INPUT", True) == (error.code, "server.json cannot be used" in error.message)
        assert '{"url": "https://..."}' in error.next_step

    @pytest.mark.parametrize(
        "url",
        [
            "http://licenses.example.com",
            "licenses.example.com",
            "https://user:secret@licenses.example.com",
            "https://licenses.example.com/?a=b",
            "https://licenses.example.com:0",
            "https://[",
            "ftp://127.0.0.1",
            "https://lic\u0435nses.example.com",
            "https://licenses example.com",
            "https://licenses.\texample.com",
            "https://licenses.example.com/a b",
        ],
    )
    def test_what_is_no_safe_address_is_refused(self, tmp_path: Path, url: str) -> None:
        error = refusal(load_config, str(tmp_path), {"KEYSEAT_SERVER": url})
        assert ("INVALID_INPUT", True) == (error.code, "is not the address of a server" in error.message)

    @pytest.mark.parametrize(("host", "is_so"), [("localhost", True), ("127.8.8.8", True), ("::1", True), ("a", False)])
    def test_plain_http_is_for_this_machine(self, host: str, is_so: bool) -> None:  # noqa: FBT001 - a test's case
        assert is_so is is_loopback(host)


class TestSaving:
    def test_keeps_the_address(self, tmp_path: Path) -> None:
        path = save_server(str(tmp_path / "home"), URL)
        assert ServerConfig(URL) == load_config(str(tmp_path / "home"), {})
        assert 0o600 == Path(path).stat().st_mode & 0o777

    def test_of_the_same_address_leaves_the_rest_of_the_file(self, tmp_path: Path) -> None:
        write(tmp_path, url=URL, ca_bundle="/ca")
        save_server(str(tmp_path), URL)
        assert ServerConfig(URL, ca_bundle="/ca") == load_config(str(tmp_path), {})

    def test_of_another_address_replaces_it(self, tmp_path: Path) -> None:
        write(tmp_path, url="https://elsewhere.example", api_key_file="/k")
        save_server(str(tmp_path), URL)
        assert ServerConfig(URL) == load_config(str(tmp_path), {})

    def test_that_is_impossible_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        error = refusal(save_server, str(tmp_path / "file" / "home"), URL)
        assert ("UNREADABLE", True) == (error.code, "KEYSEAT_SERVER" in error.next_step)


class TestApiKey:
    def test_comes_from_the_variable_before_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        path.write_text(f" {KEY}\n")
        config = ServerConfig(URL, api_key_file=str(path))

        assert KEY == api_key(config, {})
        assert "ksk_other" == api_key(config, {"KEYSEAT_API_KEY": "ksk_other\n"})
        assert api_key(ServerConfig(URL), {}) is None

    def test_file_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        error = refusal(api_key, ServerConfig(URL, api_key_file=str(tmp_path / "key")), {})
        assert ("UNREADABLE", True) == (error.code, "KEYSEAT_API_KEY_FILE" in error.next_step)

    @pytest.mark.parametrize("text", ["hunter2", "", f"{KEY} {KEY}", "ksk_\u00e9", "ksk_" + "s" * 600])
    def test_file_with_something_else_is_told_without_showing_it(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "key"
        path.write_text(text)
        error = refusal(api_key, ServerConfig(URL, api_key_file=str(path)), {})

        assert "INVALID_INPUT" == error.code
        assert not text or text not in str(error.to_dict())


def test_a_key_file_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    error = refusal(api_key, ServerConfig(URL, api_key_file=str(tmp_path / "key")), {})
    assert "it is a pipe, not a file" in error.message
