"""Write machine_id.json: canonical values -> tags -> string, and strings that must be refused. Frozen for format v1.

    python tests/vectors/build_machine_id.py

The encoder here is a second, independent one (hmac of the standard library, the checksum of BIP 350 bit by bit), so
that the vectors do not merely repeat what the product does. A test fails if the file differs from what this writes.
"""

import hashlib
import hmac
import json
import sys
from pathlib import Path

FILE = Path(__file__).parent / "machine_id.json"
KINDS = ["firmware-uuid", "firmware-serial", "nic", "disk", "os", "instance", "user-id", "user-name"]
SOURCES = ["none", "instance-file", "host-id"]
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

IDS = [
    (
        "laptop, everything",
        {
            "firmware-uuid": ["3ff4aecc2d2111b2a85cc1dd6a0c9f2e"],
            "firmware-serial": ["PF3XK7QL"],
            "nic": ["9c2dcd314fa0", "f47b0996e3c1"],
            "disk": ["S676NF0R912345"],
            "os": ["8c4f6a1d3b2e4907a5c8e1f20b7d9364"],
            "user-id": ["1000"],
            "user-name": ["ada"],
        },
        "none",
    ),
    (
        "the same laptop seen by an ordinary user",
        {
            "nic": ["9c2dcd314fa0", "f47b0996e3c1"],
            "disk": ["S676NF0R912345"],
            "os": ["8c4f6a1d3b2e4907a5c8e1f20b7d9364"],
            "user-id": ["1000"],
            "user-name": ["ada"],
        },
        "none",
    ),
    (
        "every kind, every set full",
        {
            "firmware-uuid": ["4c4c4544004235108052b4c04f4e3132"],
            "firmware-serial": ["7YC4L53"],
            "nic": ["b49691aabb10", "b49691aabb11", "b49691aabb12", "b49691aabb13"],
            "disk": ["NAA.5002538E40A1B2C3", "NAA.5002538E40A1B2D4"],
            "os": ["1b9e5c7a30f24d86b1c2d3e4f5061728"],
            "instance": ["00112233445566778899aabbccddeeff"],
            "user-id": ["0"],
            "user-name": ["root"],
        },
        "instance-file",
    ),
    (
        "container with an instance file",
        {"instance": ["00112233445566778899aabbccddeeff"], "user-id": ["65532"]},
        "instance-file",
    ),
    (
        "container with a host id",
        {"instance": ["host:8c4f6a1d3b2e4907a5c8e1f20b7d9364"], "user-id": ["1000"], "user-name": ["ada"]},
        "host-id",
    ),
    (
        "virtual machine known by its operating system only",
        {"os": ["5e4d3c2b1a0f49e8d7c6b5a493827160"], "user-id": ["1000"], "user-name": ["grace"]},
        "none",
    ),
    (
        "Windows laptop, a name with letters beyond ASCII",
        {
            "firmware-uuid": ["3ff4aecc2d2111b2a85cc1dd6a0c9f2e"],
            "firmware-serial": ["PF3XK7QL"],
            "nic": ["9c2dcd314fa0"],
            "disk": ["0025_388B_11B7_C3A4."],
            "os": ["6f1d2c3b4a5946879786a5b4c3d2e1f0"],
            "user-id": ["S-1-5-21-3623811015-3361044348-30300820-1001"],
            "user-name": ["jörg"],
        },
        "none",
    ),
]


def tag(kind: str, value: str) -> bytes:
    """The 24-bit tag."""
    return hmac.new(f"keyseat/machine-id/v1/{kind}".encode(), value.encode(), hashlib.sha256).digest()[:3]


def checksum(values: list[int]) -> int:
    """The checksum register of BIP 350, bit by bit."""
    generator = [0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit in range(5):
            state ^= generator[bit] if top >> bit & 1 else 0
    return state


def word(data: bytes, prefix: str = "mid", constant: int = 0x2BC830A3, padding: int = 0) -> str:
    """Encode bytes; other prefixes, constants and padding make strings to be refused."""
    bits = "".join(f"{byte:08b}" for byte in data)
    missing = -len(bits) % 5
    bits += f"{padding:0{missing}b}" if missing else ""
    values = [int(bits[place : place + 5], 2) for place in range(0, len(bits), 5)]
    expanded = [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]
    check = checksum([*expanded, *values, 0, 0, 0, 0, 0, 0]) ^ constant
    values += [check >> 5 * (5 - place) & 31 for place in range(6)]
    return prefix + "1" + "".join(ALPHABET[value] for value in values)


def header(values: dict[str, list], source: str, version: int = 1) -> bytes:
    """The three header bytes."""
    mask = sum(1 << index for index, kind in enumerate(KINDS) if values.get(kind))
    return bytes(
        [version << 4 | SOURCES.index(source), mask, len(values.get("nic", [])) << 4 | len(values.get("disk", []))]
    )


def body(tags: dict[str, list[bytes]]) -> bytes:
    """The tags in the order of the kinds."""
    return b"".join(one for kind in KINDS for one in tags.get(kind, []))


def refused() -> list[dict[str, str]]:
    """Strings that are no machine ID, each for one reason."""
    os_id, uid = tag("os", "5e4d3c2b1a0f49e8d7c6b5a493827160"), tag("user-id", "1000")
    first, second = sorted([tag("nic", "9c2dcd314fa0"), tag("nic", "f47b0996e3c1")])
    good = bytes([0x10, 0b01010000, 0]) + os_id + uid
    nics = {"nic": [first, second], "user-id": [uid]}
    two = header(nics, "none")
    cases = [
        ("version 2", word(bytes([0x20]) + good[1:]), "UNSUPPORTED_FORMAT"),
        ("version 0", word(bytes([0x00]) + good[1:]), "UNSUPPORTED_FORMAT"),
        ("checksum of bech32 instead of bech32m", word(good, constant=1), "MALFORMED"),
        ("another prefix", word(good, prefix="mad"), "MALFORMED"),
        ("padding not zero", word(bytes([0x10, 0b01010100, 0x10]) + first + os_id + uid, padding=1), "MALFORMED"),
        ("tags of a set not sorted", word(two + second + first + uid), "MALFORMED"),
        ("tag of a set twice", word(two + first + first + uid), "MALFORMED"),
        ("counts adapters without the kind", word(bytes([0x10, 0b01010000, 0x10]) + first + os_id + uid), "MALFORMED"),
        ("has the kind without a count", word(bytes([0x10, 0b01010100, 0]) + first + os_id + uid), "MALFORMED"),
        (
            "five adapters",
            word(bytes([0x10, 0b01000100, 0x50]) + b"".join(bytes([0, 0, n]) for n in range(5)) + uid),
            "MALFORMED",
        ),
        (
            "three disks",
            word(bytes([0x10, 0b01001000, 0x03]) + b"".join(bytes([0, 0, n]) for n in range(3)) + uid),
            "MALFORMED",
        ),
        ("a tag too many", word(good + os_id), "MALFORMED"),
        ("a tag too few", word(good[:-3]), "MALFORMED"),
        ("instance source without instance", word(bytes([0x11]) + good[1:]), "MALFORMED"),
        ("instance without source", word(bytes([0x10, 0b01100000, 0]) + os_id + uid), "MALFORMED"),
        ("unknown instance source", word(bytes([0x13, 0b01100000, 0]) + os_id + uid), "MALFORMED"),
        ("no user account", word(bytes([0x10, 0b00010000, 0]) + os_id), "MALFORMED"),
        ("user name without account id", word(bytes([0x10, 0b10010000, 0]) + os_id + uid), "MALFORMED"),
        ("user account only", word(bytes([0x10, 0b01000000, 0]) + uid), "MALFORMED"),
        ("header only", word(bytes([0x10, 0, 0])), "MALFORMED"),
        ("empty data", word(b""), "MALFORMED"),
    ]
    return [{"comment": comment, "text": text, "code": code} for comment, text, code in cases]


def content() -> str:
    """Return the file's text."""
    ids = []
    for comment, values, source in IDS:
        tags = {kind: sorted(tag(kind, value) for value in found) for kind, found in values.items()}
        ids.append(
            {
                "comment": comment,
                "values": values,
                "instance_source": source,
                "tags": {kind: [one.hex() for one in found] for kind, found in tags.items()},
                "bytes": (header(values, source) + body(tags)).hex(),
                "machine_id": word(header(values, source) + body(tags)),
            }
        )
    return json.dumps({"format": 1, "ids": ids, "refused": refused()}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(content(), encoding="utf-8")
    sys.exit(0)
