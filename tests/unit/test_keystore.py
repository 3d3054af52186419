"""The folder of private keys: rights, wrong passphrases, damaged and exchanged files."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from issuing import PASSPHRASE, cheap_scrypt
from keyseat_issuer.cli.steps import STEPS
from keyseat_issuer.keys.store import KeyStore, PrivateKey, parse_private_key, parse_public_key
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.keys import ED25519, ML_DSA_65

KEY = PrivateKey.from_seed(ED25519, bytes(range(32)))


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_scrypt(monkeypatch)


def test_key_files_are_for_their_owner_only(tmp_path: Path) -> None:
    path = KeyStore(tmp_path).save("license", KEY, PASSPHRASE)
    assert f"license-{KEY.public.keyid}.pem" == path.name
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)


def test_key_files_that_others_can_read_are_named(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    path = store.save("license", KEY, PASSPHRASE)
    assert () == store.exposed()
    path.chmod(0o640)
    assert (path,) == store.exposed()


def test_the_secret_is_in_no_file_and_no_repr(tmp_path: Path) -> None:
    path = KeyStore(tmp_path).save("license", KEY, PASSPHRASE)
    plain = KEY._secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert plain.splitlines()[1] not in path.read_bytes()
    assert f"PrivateKey(ed25519, {KEY.public.keyid})" == repr(KEY)


@pytest.mark.parametrize("algorithm", [ED25519, ML_DSA_65])
def test_a_saved_key_signs_after_opening(tmp_path: Path, algorithm: str) -> None:
    key = PrivateKey.generate(algorithm)
    store = KeyStore(tmp_path)
    store.save("lease", key, PASSPHRASE)
    assert key.public.verifies(store.open(key.public, lambda: PASSPHRASE).sign(b"message"), b"message")


def test_a_wrong_passphrase_is_named_as_such(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    store.save("license", KEY, PASSPHRASE)
    with pytest.raises(KeyseatError, match="wrong passphrase") as caught:
        store.open(KEY.public, "wrong passphrase!")
    assert ReasonCode.KEY_UNAVAILABLE is caught.value.code
    assert "wrong passphrase!" not in str(caught.value)


def test_a_missing_key_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(KeyseatError) as caught:
        KeyStore(tmp_path).open(KEY.public, PASSPHRASE)
    assert ReasonCode.KEY_UNAVAILABLE is caught.value.code
    assert "backup" in STEPS.of(caught.value)


def test_a_file_that_holds_another_key_is_refused(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    path = store.save("license", KEY, PASSPHRASE)
    path.write_bytes(PrivateKey.generate(ED25519).to_pem(PASSPHRASE))
    with pytest.raises(KeyseatError, match="holds another key"):
        store.open(KEY.public, PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n"])
def test_a_damaged_file_is_no_traceback(content: bytes) -> None:
    with pytest.raises(KeyseatError) as caught:
        parse_private_key(content, PASSPHRASE, "key.pem")
    assert ReasonCode.KEY_UNAVAILABLE is caught.value.code


def test_keys_of_other_algorithms_are_refused(tmp_path: Path) -> None:
    rsa = generate_private_key(65537, 2048)
    pem = rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyseatError, match="neither an Ed25519 nor an ML-DSA-65"):
        parse_private_key(pem, "", "key.pem")
    path = tmp_path / "public.pem"
    path.write_bytes(rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(KeyseatError, match="neither an Ed25519 nor"):
        parse_public_key(path)


def test_a_root_key_kept_elsewhere_is_found_and_its_successor_goes_there(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    KeyStore(tmp_path, [stick]).save("root", KEY, PASSPHRASE)
    assert [f"root-{KEY.public.keyid}.pem"] == [path.name for path in stick.iterdir()]
    assert KeyStore(tmp_path).find(KEY.public.keyid) is None
    assert KeyStore(tmp_path, [stick]).open(KEY.public, PASSPHRASE).public == KEY.public
