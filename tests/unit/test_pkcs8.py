"""Key files: scrypt at the promised cost, read by other software, and nothing of the secret in them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from keyseat_issuer.keys import pkcs8
from keyseat_issuer.keys.pkcs8 import decrypt_private_key, encrypt_private_key

SEED = bytes(range(32))
KEY = Ed25519PrivateKey.from_private_bytes(SEED)


def test_a_key_file_costs_128_mib_a_guess() -> None:
    assert (2**17, 8, 1) == (pkcs8.SCRYPT_N, pkcs8.SCRYPT_R, pkcs8.SCRYPT_P)


@pytest.mark.long
def test_a_key_survives_the_real_cost_and_a_wrong_passphrase_does_not_open_it() -> None:
    pem = encrypt_private_key(KEY, "correct horse battery")
    opened = decrypt_private_key(pem, "correct horse battery")
    assert isinstance(opened, Ed25519PrivateKey)
    assert SEED == opened.private_bytes_raw()
    with pytest.raises(ValueError, match="Incorrect password"):
        decrypt_private_key(pem, "correct horse batterz")


@pytest.fixture
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    # The largest power of two that fits into the 32 MiB that the openssl command allows.
    monkeypatch.setattr(pkcs8, "SCRYPT_N", 2**14)


@pytest.mark.usefixtures("_cheap")
class TestFormat:
    def test_an_ml_dsa_key_is_kept_as_its_seed(self) -> None:
        pem = encrypt_private_key(MLDSA65PrivateKey.from_seed_bytes(SEED), "correct horse battery")
        opened = decrypt_private_key(pem, "correct horse battery")
        assert isinstance(opened, MLDSA65PrivateKey)
        assert SEED == opened.private_bytes_raw()

    def test_two_files_of_one_key_share_neither_salt_nor_ciphertext(self) -> None:
        first, second = (encrypt_private_key(KEY, "correct horse battery") for _ in range(2))
        assert first.splitlines()[2] != second.splitlines()[2]

    def test_given_salt_and_iv_make_the_same_file_again(self) -> None:
        first, second = (encrypt_private_key(KEY, "example", salt=b"s" * 16, iv=b"i" * 16) for _ in range(2))
        assert first == second

    def test_a_passphrase_beyond_ascii_is_utf_8(self) -> None:
        pem = encrypt_private_key(KEY, "schlüssel für alle")
        assert isinstance(decrypt_private_key(pem, "schlüssel für alle"), Ed25519PrivateKey)

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command here")
    def test_the_openssl_command_reads_it(self, tmp_path: Path) -> None:
        path = tmp_path / "key.pem"
        path.write_bytes(encrypt_private_key(KEY, "correct horse battery"))
        shown = subprocess.run(
            ["openssl", "pkey", "-in", path, "-passin", "pass:correct horse battery", "-noout", "-text"],
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        digits = "".join(shown.split("priv:")[1].split("pub:")[0].split()).replace(":", "")
        assert SEED.hex() == digits
