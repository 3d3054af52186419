"""Project Wycheproof's signature vectors, through the keys of this project."""

import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature

from keyseat_shared import keys
from keyseat_shared.errors import TrustError
from keyseat_shared.keys import ED25519, ML_DSA_65, PublicKey

FOLDER = Path(__file__).parent / "wycheproof"


def groups(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(lzma.decompress((FOLDER / name).read_bytes()))["testGroups"]
    return found


def ed25519_verdict(raw: bytes, signature: bytes, message: bytes) -> str:
    try:
        return "valid" if PublicKey(ED25519, raw, "wycheproof").verifies(signature, message) else "invalid"
    except TrustError:
        return "invalid"


def ml_dsa_verdict(raw: bytes, signature: bytes, message: bytes, context: bytes) -> str:
    """Verify under the vector's own context, with a key loaded as ours are."""
    try:
        PublicKey(ML_DSA_65, raw, "wycheproof")
        keys._load(ML_DSA_65, raw).verify(signature, message, context)
    except (InvalidSignature, TrustError, ValueError):
        return "invalid"
    return "valid"


def test_all_151_ed25519_vectors_are_judged_right() -> None:
    wrong, seen = [], 0
    for group in groups("ed25519_test.json.xz"):
        raw = bytes.fromhex(group["publicKey"]["pk"])
        for vector in group["tests"]:
            seen += 1
            got = ed25519_verdict(raw, bytes.fromhex(vector["sig"]), bytes.fromhex(vector["msg"]))
            if got != vector["result"]:
                wrong.append((vector["tcId"], vector["comment"], got))
    assert ([], 151) == (wrong, seen)


@pytest.fixture(scope="module")
def ml_dsa() -> list[tuple[bytes, dict[str, Any]]]:
    return [
        (bytes.fromhex(group["publicKey"]), vector)
        for group in groups("mldsa_65_verify_test.json.xz")
        for vector in group["tests"]
    ]


def test_all_210_ml_dsa_65_vectors_are_judged_right(ml_dsa: list[tuple[bytes, dict[str, Any]]]) -> None:
    wrong = []
    for raw, vector in ml_dsa:
        parts = [bytes.fromhex(vector.get(part, "")) for part in ("sig", "msg", "ctx")]
        if ml_dsa_verdict(raw, *parts) != vector["result"]:
            wrong.append((vector["tcId"], vector["comment"]))
    assert ([], 210) == (wrong, len(ml_dsa))


def test_no_ml_dsa_signature_of_another_context_counts_here(ml_dsa: list[tuple[bytes, dict[str, Any]]]) -> None:
    valid = [(raw, vector) for raw, vector in ml_dsa if vector["result"] == "valid"]
    assert len(valid) > 50
    for raw, vector in valid:
        key = PublicKey(ML_DSA_65, raw, "wycheproof")
        assert not key.verifies(bytes.fromhex(vector["sig"]), bytes.fromhex(vector["msg"]))
