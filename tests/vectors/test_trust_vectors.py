"""The public vectors of trust bundles give the verdicts written beside them."""

import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from keyseat_shared.errors import TrustError
from keyseat_shared.trust import TrustBundle

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("trust.json").read_text(encoding="utf-8"))


def verdict(case: Mapping[str, str]) -> str:
    offered = base64.b64decode(case["offered"])
    try:
        if case["present"]:
            TrustBundle.from_bytes(base64.b64decode(VECTORS["present"][case["present"]])).update(offered)
        else:
            TrustBundle.from_bytes(offered)
    except TrustError as error:
        return str(error.code)
    return "OK"


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_a_vector_gives_its_verdict(case: dict[str, str]) -> None:
    assert case["code"] == verdict(case)


def test_each_vector_has_its_own_name() -> None:
    names = [case["name"] for case in VECTORS["cases"]]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("name", ["loads: hybrid", "an algorithm dropped by both roots"])
def test_without_ml_dsa_in_the_library_a_hybrid_root_cannot_be_checked(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    (case,) = [case for case in VECTORS["cases"] if case["name"] == name]
    assert "ALGORITHM_UNAVAILABLE" == verdict(case)
