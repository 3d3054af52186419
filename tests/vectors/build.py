"""Rebuilds the licence vectors and the generated parts of docs/spec; with --check only tells what is out of date.

Everything comes from fixed seeds, so that a rebuild without a change of format gives no difference.
"""

import argparse
import base64
import hashlib
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SPEC = HERE.parent.parent / "docs" / "spec"
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

import license_cases  # noqa: E402 - found only now
import reasons  # noqa: E402 - as above
import trust_cases  # noqa: E402 - as above

from keyseat_shared.codes import NEXT_STEPS, ReasonCode, exit_code  # noqa: E402 - as above
from keyseat_shared.envelope import Envelope, pae  # noqa: E402 - as above
from vendor import Vendor  # noqa: E402 - as above

_BLOCK = re.compile(r"(?P<open><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<close><!-- end -->)", re.DOTALL)


def vectors() -> str:
    """Return licenses.json: the bundles once, then one object a line for each vector."""
    trust = {name: base64.b64encode(data).decode() for name, data in license_cases.TRUST.items()}
    cases = [case._asdict() | {"file": base64.b64encode(case.file).decode()} for case in license_cases.all_cases()]
    lines = [json.dumps(case) for case in cases]
    return '{"trust": ' + json.dumps(trust) + ',\n "cases": [\n' + ",\n".join(lines) + "\n]}\n"


def trust_vectors() -> str:
    """Return trust.json: the bundles in use, then one object a line for each vector."""
    present = {name: base64.b64encode(data).decode() for name, data in trust_cases.PRESENT.items()}
    cases = [case._asdict() | {"offered": base64.b64encode(case.offered).decode()} for case in trust_cases.all_cases()]
    lines = [json.dumps(case) for case in cases]
    return '{"present": ' + json.dumps(present) + ',\n "cases": [\n' + ",\n".join(lines) + "\n]}\n"


def _fenced(kind: str, text: str) -> str:
    return f"```{kind}\n{text}\n```\n"


def blocks() -> dict[str, str]:
    """Return the generated parts of the documents by name."""
    vendor = Vendor()
    license_file, trust_file = vendor.license(), vendor.bundle_bytes()
    envelope, bundle = Envelope.from_bytes(license_file), Envelope.from_bytes(trust_file)
    signed = pae(envelope.payload_type, envelope.payload)
    numbers = [
        ("SHA-256 of the encoding", hashlib.sha256(signed).hexdigest()),
        ("public key", vendor.key.public.raw.hex()),
        ("signature", envelope.signatures[0].sig.hex()),
    ]
    rows = [
        f"| `{code}` | {exit_code(code)} | {reasons.MEANINGS[code]} | {NEXT_STEPS[code]} |\n" for code in ReasonCode
    ]
    return {
        "license-payload": _fenced("json", envelope.payload.decode()),
        "license-pae": _fenced("text", signed[: -len(envelope.payload)].decode()),
        "license-signature": _fenced("text", "\n".join(f"{name}: {value}" for name, value in numbers)),
        "license-file": _fenced("json", license_file.decode().rstrip("\n")),
        "trust-payload": _fenced("json", bundle.payload.decode()),
        "policy-digest": _fenced("text", vendor.policy.digest()),
        "trust-file": _fenced("json", trust_file.decode().rstrip("\n")),
        "reason-codes": "| code | exit | what it means | what to do |\n|---|---|---|---|\n" + "".join(rows),
    }


def document(text: str, generated: dict[str, str]) -> str:
    """Return a document with its generated parts made anew."""
    return _BLOCK.sub(lambda found: found["open"] + generated[found["name"]] + found["close"], text)


def wanted() -> dict[Path, str]:
    """Return every generated file with the text it should have."""
    generated = blocks()
    files = {HERE / "licenses.json": vectors(), HERE / "trust.json": trust_vectors()}
    files[trust_cases.KEPT] = trust_cases.signatures()
    for name in ("license-file.md", "trust-bundle.md", "reason-codes.md"):
        files[SPEC / name] = document((SPEC / name).read_text(encoding="utf-8"), generated)
    return files


def main() -> int:
    """Write what changed, or tell it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where something is out of date")
    check = parser.parse_args().check
    stale = 0
    for path, text in wanted().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale += 1
            sys.stdout.write(f"{'out of date' if check else 'written'}: {path}\n")
            if not check:
                path.write_text(text, encoding="utf-8", newline="\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
