"""Write machine_matching.json: an enrolled ID, what a machine shows, and the verdict by docs/spec/machine-id.md, 9.

    python tests/vectors/build_machine_matching.py

Verdicts are written by hand, from the document. Values are letters: only their equality counts. A test fails if the
file differs from what this writes.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from build_machine_id import KINDS, body, header, tag, word

FILE = Path(__file__).parent / "machine_matching.json"
SHORT = dict(zip("usndoi", KINDS, strict=False)) | {"U": "user-id", "N": "user-name"}
USER = "U:1000 N:ada"

# (comment, enrolled, shown, verdict): a letter a kind as in `SHORT`, and a letter a value.
CASES = [
    ("everything as it was", "u:a s:b n:c d:e o:f", "u:a s:b n:c d:e o:f", "same"),
    ("rule 1: firmware and adapter, new disk and system", "u:a s:b n:c d:e o:f", "u:a s:b n:c d:x o:y", "same"),
    ("rule 1: one firmware item turned blank", "u:a s:b n:c d:e o:f", "u:a n:c d:e o:f", "same"),
    ("rule 1: firmware vouches for half of the adapters", "u:a n:bc", "u:a n:bx", "same"),
    ("rule 2: an ordinary user", "u:a s:b n:c d:e o:f", "n:c d:e o:f", "same"),
    ("rule 2: one of two adapters swapped", "n:ab d:e", "n:bx d:e", "same"),
    ("rule 2: half of a mirror replaced", "n:a d:ef o:g", "n:a d:ex o:g", "same"),
    ("rule 3: all adapters swapped", "n:a d:e o:f", "n:x d:e o:f", "same"),
    ("rule 4: the id of a system alone", "o:f", "o:f", "same"),
    ("rule 4: an instance id alone", "i:a", "i:a", "same"),
    ("half of it, the half with more firmware", "s:b n:c d:e o:f", "s:b n:c d:x o:y", "same"),
    ("half of it, the half with less firmware", "s:b n:c d:e o:f", "s:x n:y d:e o:f", "other-machine"),
    ("eight more adapters, the enrolled ones among them", "n:hi d:e", "n:abcdefghi d:e", "same"),
    ("three of four adapters", "n:abcd", "n:abc", "same"),
    ("half of the adapters and nothing else", "n:abcd", "n:ab", "other-machine"),
    ("half of the disks, and a system's id that every copy has", "d:ef o:g", "d:ex o:g", "other-machine"),
    ("half of adapters and disks, and such an id", "n:ab d:ef o:g", "n:ax d:ey o:g", "other-machine"),
    ("half of the adapters, and a copied instance id", "n:ab i:c", "n:a i:c", "other-machine"),
    ("merged from two machines: the first", "n:ab d:ef", "n:a d:e", "other-machine"),
    ("merged from two machines: the second", "n:ab d:ef", "n:b d:f", "other-machine"),
    ("merged from two machines, firmware of both: the first", "u:a s:b n:c d:e", "u:a s:x n:c d:y", "other-machine"),
    ("merged from two machines, firmware of both: the second", "u:a s:b n:c d:e", "u:x s:b n:y d:e", "other-machine"),
    ("merged from two, one run by a user: the first", "u:a s:b n:c d:e o:f", "u:a s:b n:x d:y o:z", "other-machine"),
    ("merged from three machines", "u:a n:bcd d:ef o:g", "u:x n:b d:e o:y", "other-machine"),
    ("merged from three machines: a user of the second", "u:a n:bcd d:ef o:g", "n:b d:e o:y", "indeterminate"),
    ("merged from four machines: a user of the first", "n:abcd d:ef o:g", "n:a d:e o:x", "other-machine"),
    ("merged from four machines: a user of the last", "n:abcd d:ef o:g", "n:d d:x o:g", "other-machine"),
    ("merged from four machines: the one that gave firmware", "u:a n:bcde d:fg", "u:a n:b d:x", "other-machine"),
    ("all readable firmware differs", "u:a s:b n:c d:e o:f", "u:x s:y n:c d:e o:f", "other-machine"),
    ("firmware cannot be read, and the system was reinstalled", "u:a s:b n:c d:e o:f", "n:c d:e o:x", "indeterminate"),
    ("too little can be read", "n:a d:e o:f", "d:e", "indeterminate"),
    ("the same machine, another user", "n:a d:e", "n:a d:e U:1001 N:eve", "other-user"),
    ("the same machine, a user renamed", "n:a d:e", "n:a d:e U:1000 N:eve", "same"),
]  # fmt: skip


def values(words: str) -> dict[str, list[str]]:
    """Return values by kind; the user account is the usual one where none is named."""
    found = dict(one.split(":") for one in f"{USER} {words}".split())
    return {SHORT[letter]: [text] if letter in "UN" else list(text) for letter, text in found.items()}


def identity(words: str) -> dict[str, object]:
    """Return values, and the ID of those that fit into one."""
    found = values(words)
    tags = {kind: sorted(tag(kind, value) for value in some) for kind, some in found.items()}
    tags["nic"], tags["disk"] = tags.get("nic", [])[:4], tags.get("disk", [])[:2]
    source = "instance-file" if "instance" in found else "none"
    return {"values": found, "machine_id": word(header(tags, source) + body(tags))}


def content() -> str:
    """Return the file's text."""
    cases = [
        {"comment": comment, "enrolled": identity(enrolled), "shown": identity(shown), "verdict": verdict}
        for comment, enrolled, shown, verdict in CASES
    ]
    return json.dumps({"format": 1, "cases": cases}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(content(), encoding="utf-8")
    sys.exit(0)
