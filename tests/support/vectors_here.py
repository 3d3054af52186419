"""Runs the public vectors on the interpreter that runs this, and prints what comes out: ``vectors_here.py ANSWERS``.

ANSWERS are the verdicts on signatures that ``record`` took down, for an interpreter that has no `cryptography`: what is
looked for is a verdict that depends on the interpreter, and signatures are checked by a library.
"""

import base64
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors"
if __name__ == "__main__":  # the interpreter has nothing installed, or another version of it
    sys.path[:0] = [str(ROOT / name) for name in ("shared", "verifier")]

from keyseat_shared import characters, fields, keys  # noqa: E402 - found only now
from keyseat_shared.errors import KeyseatError  # noqa: E402 - as above
from keyseat_shared.instants import parse_instant  # noqa: E402 - as above
from keyseat_shared.machine_id import MachineID  # noqa: E402 - as above
from keyseat_shared.strictjson import dumps_compact, loads_object  # noqa: E402 - as above
from keyseat_shared.trust import TrustBundle  # noqa: E402 - as above
from keyseat_verifier.machine import canonical, casefold  # noqa: E402 - as above
from keyseat_verifier.verify.verifier import Verifier  # noqa: E402 - as above

Holds = Callable[[bytes, bytes], bool]
_TEXTS = (
    *("\u0663", "\u00b2", "\uff11", " 1", "1_0", "+1", "\u212a", "\u017f", "\u0130", "\u00df", "\ufb01", "\u1c89"),
    *("\ua7cb", "\u0378", "\u00a0x", "\u2028"),
)
_JSON = (
    *("1", "-0", "1.0", "1e2", "9007199254740993", "1" * 5000, '"\\u1c89"', '"\x7f"', "NaN", "{}", "1_0", "\u0663"),
    "\x0b1",
)


def verdicts() -> dict[str, str]:
    """Return what this interpreter says to every vector, and to some texts that interpreters differ on."""
    licenses = json.loads((VECTORS / "licenses.json").read_text(encoding="utf-8"))
    found = {f"licence: {case['name']}": _license(case, licenses["trust"]) for case in licenses["cases"]}
    bundles = json.loads((VECTORS / "trust.json").read_text(encoding="utf-8"))
    found |= {f"bundle: {case['name']}": _bundle(case, bundles["present"]) for case in bundles["cases"]}
    ids = json.loads((VECTORS / "machine_id.json").read_text(encoding="utf-8"))
    for vector in ids["ids"]:
        made = MachineID.from_values(vector["values"], instance_source=vector["instance_source"])
        found[f"machine ID: {vector['comment']}"] = str(made)
    for vector in ids["refused"]:
        found[f"refused ID: {vector['comment']}"] = _said(MachineID.parse, vector["text"])
    for text in _TEXTS:
        found |= {f"{what} of {text!a}": said for what, said in _readings(text)}
    for text in _JSON:
        data = f'{{"a":{text}}}'.encode()
        found[f"JSON {text[:20]!a}"] = _said(lambda data: dumps_compact(loads_object(data)), data)
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    found["allowed characters"] = _digest("".join(filter(characters.are_allowed, every)))
    found["folding"] = _digest(casefold.casefold(every))
    return found


def _readings(text: str) -> list[tuple[str, str]]:
    return [
        ("text", _said(fields.text, text, "it")),
        ("code", _said(fields.code, text, "it")),
        ("uuid", _said(fields.uuid, f"01890001-0000-7000-8000-00000000000{text}", "it")),
        ("digest", _said(fields.digest, "sha256:" + "0" * 63 + text, "it")),
        ("instant", _said(fields.instant, f"2023-06-0{text}T00:00:00Z", "it")),
        ("serial", ascii(canonical.serial(f"ABC{text}12345"))),
        ("drive name", ascii(canonical.drive_name(f"nvme.{text}-41424331323334-4d-1"))),
        ("MAC", ascii(canonical.mac(f"a4bb6d0c112{text}"))),
        ("OS id", ascii(canonical.os_id(f"0d7d2f3a9b3c4e0f8a1b2c3d4e5f607{text}"))),
        ("account", ascii(canonical.account_id(f"S-1-5-{text}"))),
        ("account name", ascii(canonical.account_name(f"PC\\A{text}", fold_case=True))),
    ]


def _bundle(case: dict[str, Any], present: dict[str, str]) -> str:
    if not case["present"]:
        return _said(_loaded, case["offered"])
    update = _loaded(present[case["present"]]).update
    return _said(update, base64.b64decode(case["offered"]))


def _license(case: dict[str, Any], trust: dict[str, str]) -> str:
    def verify() -> str:
        verifier = Verifier(_loaded(trust[case["trust"]]), case["product"])
        data = base64.b64decode(case["file"]) + b" " * case["spaces"]
        verifier.verify(data, machine=case["machine_id"], now=parse_instant(case["now"]))
        return "OK"

    return _said(verify)


def _loaded(data: str) -> TrustBundle:
    return TrustBundle.from_bytes(base64.b64decode(data))


def _said(function: Callable[..., object], *given: object) -> str:
    try:
        return ascii(function(*given)) if given else str(function())
    except KeyseatError as error:
        return str(error.code)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _question(algorithm: str, raw: bytes, signature: bytes, message: bytes) -> str:
    return hashlib.sha256(b"\0".join([algorithm.encode(), raw.hex().encode(), signature, message])).hexdigest()


def record() -> tuple[dict[str, str], dict[str, bool]]:
    """Return the verdicts of this interpreter, and what its library said to each signature."""
    answers: dict[str, bool] = {}
    load = keys._load

    def asked(algorithm: str, raw: bytes) -> Holds:
        holds = load(algorithm, raw)

        def answer(signature: bytes, message: bytes) -> bool:
            said = answers[_question(algorithm, raw, signature, message)] = holds(signature, message)
            return said

        return answer

    keys._load = asked
    try:
        return verdicts(), answers
    finally:
        keys._load = load


def main(answers: str) -> int:
    """Print version, library and verdicts as JSON."""
    library = "cryptography"
    try:
        import cryptography.hazmat.primitives.asymmetric.mldsa  # noqa: F401, PLC0415 - whether it is there
    except ImportError:
        library = "recorded answers"
        recorded = json.loads(Path(answers).read_text(encoding="utf-8"))
        keys._load = lambda algorithm, raw: lambda sig, message: recorded[_question(algorithm, raw, sig, message)]
    print(json.dumps({"python": list(sys.version_info[:3]), "library": library, "verdicts": verdicts()}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
