"""Project Wycheproof's signature vectors, through the keys of this project.

The vectors (github.com/C2SP/wycheproof, ``testvectors_v1``) are not part of this project. They are looked for in
the folder that ``KEYSEAT_VECTORS`` names, and in ``shared/vectors`` beside the clone.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from keyseat_shared import keys
from keyseat_shared.errors import TrustError
from keyseat_shared.keys import ED25519, ML_DSA_65, PublicKey

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("KEYSEAT_VECTORS") or ROOT.parent / "shared" / "vectors") / "wycheproof"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason="Wycheproof's vectors are not here: KEYSEAT_VECTORS names the folder that holds wycheproof/",
)


def groups(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / name).read_bytes())["testGroups"]
    return found


def ed25519_verdict(raw: bytes, signature: bytes, message: bytes) -> str:
    try:
        return "valid" if PublicKey(ED25519, raw, "wycheproof").verifies(signature, message) else "invalid"
    except TrustError:
        return "invalid"


def ml_dsa_verdict(raw: bytes, signature: bytes, message: bytes) -> str:
    try:
        return "valid" if PublicKey(ML_DSA_65, raw, "wycheproof").verifies(signature, message) else "invalid"
    except (TrustError, ValueError):  # ValueError: a context string longer than FIPS 204 allows
        return "invalid"


def test_all_151_ed25519_vectors_are_judged_right() -> None:
    wrong, seen = [], 0
    for group in groups("ed25519_test.json"):
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
        for group in groups("mldsa_65_verify_test.json")
        for vector in group["tests"]
    ]


def test_all_210_ml_dsa_65_vectors_are_judged_right(
    ml_dsa: list[tuple[bytes, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = []
    for raw, vector in ml_dsa:
        monkeypatch.setattr(keys, "ML_DSA_CONTEXT", bytes.fromhex(vector.get("ctx", "")))
        if ml_dsa_verdict(raw, bytes.fromhex(vector["sig"]), bytes.fromhex(vector["msg"])) != vector["result"]:
            wrong.append((vector["tcId"], vector["comment"]))
    assert ([], 210) == (wrong, len(ml_dsa))


def test_no_ml_dsa_signature_of_another_context_counts_here(ml_dsa: list[tuple[bytes, dict[str, Any]]]) -> None:
    valid = [(raw, vector) for raw, vector in ml_dsa if vector["result"] == "valid"]
    assert len(valid) > 50
    for raw, vector in valid:
        key = PublicKey(ML_DSA_65, raw, "wycheproof")
        assert not key.verifies(bytes.fromhex(vector["sig"]), bytes.fromhex(vector["msg"]))
