"""The public licence vectors give the verdicts written beside them, and everything generated is up to date."""

import base64
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from keyseat_shared.codes import ReasonCode
from keyseat_shared.trust import TrustBundle
from keyseat_verifier import VerificationError, Verifier

HERE = Path(__file__).parent
VECTORS: dict[str, Any] = json.loads((HERE / "licenses.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_a_vector_gives_its_verdict(case: dict[str, Any]) -> None:
    trust = TrustBundle.from_bytes(base64.b64decode(VECTORS["trust"][case["trust"]]))
    verifier = Verifier(trust, case["product"])
    given = {"machine": case["machine_id"], "now": datetime.fromisoformat(case["now"])}
    data = base64.b64decode(case["file"]) + b" " * case["spaces"]
    try:
        verifier.verify(data, **given)
        verdict = "OK"
    except VerificationError as error:
        verdict = str(error.code)
    assert case["code"] == verdict
    assert case["code"] == verifier.explain(data, **given).code


def test_each_vector_has_its_own_name() -> None:
    names = [case["name"] for case in VECTORS["cases"]]
    assert sorted(set(names)) == sorted(names)


def test_every_verdict_of_the_specification_has_a_vector() -> None:
    text = (HERE.parent.parent / "docs" / "spec" / "license-file.md").read_text(encoding="utf-8")
    steps = text[text.index("## 10.") : text.index("## 11.")]
    named = {code for code in ReasonCode if f"`{code}`" in steps}
    elsewhere = {
        ReasonCode.MACHINE_INDETERMINATE,  # the vectors of the machine ID
        ReasonCode.MACHINE_WEAK,  # as above
    }
    assert named - elsewhere == {case["code"] for case in VECTORS["cases"]} & named


def test_a_rebuild_changes_nothing() -> None:
    done = subprocess.run([sys.executable, HERE / "build.py", "--check"], capture_output=True, text=True, check=False)
    assert ("", 0) == (done.stdout + done.stderr, done.returncode)
