"""Encrypted private-key files: PKCS#8 PEM under scrypt and AES-256-CBC, readable by any modern library.

``BestAvailableEncryption`` of ``cryptography`` writes PBKDF2 with 2,048 rounds, which one graphics card
guesses through at millions of passphrases a second. It reads scrypt, so only the writing stands here.
The `openssl` command understands the files, but stops at its built-in limit of 32 MiB of memory.
"""

import base64
import os

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

SCRYPT_N = 2**17
"""Cost of one guess: 128 MiB and about 0.4 s (RFC 7914; OWASP's first choice of parameters)."""
SCRYPT_R = 8
SCRYPT_P = 1
SALT_SIZE = 16
IV_SIZE = 16

_KEY_SIZE = 32
_PBES2 = bytes.fromhex("06092a864886f70d01050d")  # 1.2.840.113549.1.5.13, RFC 8018 A.4
_SCRYPT = bytes.fromhex("06092b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11, RFC 7914 section 7
_AES_256_CBC = bytes.fromhex("060960864801650304012a")  # 2.16.840.1.101.3.4.1.42, RFC 8018 B.2.5
_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30
_SHORT = 0x80


def encrypt_private_key(
    key: PrivateKeyTypes, passphrase: str, *, salt: bytes | None = None, iv: bytes | None = None
) -> bytes:
    """Return ``key`` as PEM ``ENCRYPTED PRIVATE KEY`` (RFC 5958, section 3).

    ``salt`` and ``iv`` (16 bytes each) are random unless given; only reproducible example keys give them.
    """
    salt = os.urandom(SALT_SIZE) if salt is None else salt
    iv = os.urandom(IV_SIZE) if iv is None else iv
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    padder = PKCS7(algorithms.AES256.block_size).padder()
    secret = Scrypt(salt=salt, length=_KEY_SIZE, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive(passphrase.encode())
    encryptor = Cipher(algorithms.AES256(secret), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    derivation = _sequence(
        _SCRYPT,
        _sequence(_der(_OCTETS, salt), _number(SCRYPT_N), _number(SCRYPT_R), _number(SCRYPT_P), _number(_KEY_SIZE)),
    )
    scheme = _sequence(_AES_256_CBC, _der(_OCTETS, iv))
    algorithm = _sequence(_PBES2, _sequence(derivation, scheme))
    return _pem(_sequence(algorithm, _der(_OCTETS, sealed)))


def decrypt_private_key(pem: bytes, passphrase: str) -> PrivateKeyTypes:
    """Read a PKCS#8 PEM; an empty ``passphrase`` is for a plain one.

    Raises:
        ValueError: wrong passphrase, or no such file format.
        TypeError: the file is encrypted and ``passphrase`` is empty, or the other way round.
    """
    return load_pem_private_key(pem, passphrase.encode() or None)


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN ENCRYPTED PRIVATE KEY-----", *lines, b"-----END ENCRYPTED PRIVATE KEY-----", b""])


def _sequence(*parts: bytes) -> bytes:
    return _der(_SEQUENCE, b"".join(parts))


def _number(value: int) -> bytes:
    # One bit more than the value needs: DER integers are signed (X.690, 8.3).
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < _SHORT:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _SHORT | len(length))) + length + content
