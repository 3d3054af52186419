"""The licence vectors: one valid file, and files that each break one thing, with the verdict a verifier must give."""

import base64
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from edwards import BASE, SMALL_ORDER, add, decode, encode, sign, times
from keyseat_shared.envelope import LEASE_TYPE, LICENSE_TYPE, pae
from keyseat_shared.keys import ED25519, PublicKey
from keyseat_shared.policy import default_policy
from keyseat_shared.trust import ACTIVE, COMPROMISED, RETIRED
from vendor import MACHINE, OTHER_MACHINE, OTHER_USER, Key, Vendor, envelope

NOW = "2023-12-01T12:00:00Z"
VENDOR = Vendor()
HYBRID = Vendor(hybrid=True)
HYBRID_FILE = Path(__file__).with_name("hybrid.lic")
RETIRED_KEY, REVOKED_KEY, LATE_KEY = Key("vendor retired"), Key("vendor revoked"), Key("vendor late")
GOOD = VENDOR.license()
OUTER = json.loads(GOOD)
MIXED_KEY = PublicKey(ED25519, encode(add(times(5, BASE), decode(bytes.fromhex(SMALL_ORDER["order 8, a"])))), "mixed")
MIDDAY = Vendor().trusted(LATE_KEY).valid_from.replace(year=2025)
BUNDLE = VENDOR.bundle_bytes(
    keys=[
        VENDOR.trusted(VENDOR.key),
        VENDOR.trusted(VENDOR.lease_key, "lease"),
        VENDOR.trusted(RETIRED_KEY, status=RETIRED),
        VENDOR.trusted(REVOKED_KEY, status=COMPROMISED),
        VENDOR.trusted(LATE_KEY, status=ACTIVE, valid_from=MIDDAY),
    ]
)


class Case(NamedTuple):
    """One vector: a file, how it is verified, and the code that must come out."""

    name: str
    code: str
    file: bytes
    product: str = "KSE"
    machine_id: str = str(MACHINE)
    now: str = NOW
    trust: str = "classic"
    spaces: int = 0  # white space to append to the file, not written out


def _outer(**changes: object) -> bytes:
    merged = {key: value for key, value in (OUTER | changes).items() if value is not None}
    return json.dumps(merged, separators=(",", ":")).encode()


def _signature(**changes: object) -> bytes:
    return _outer(signatures=[OUTER["signatures"][0] | changes])


def _payload(text: str) -> bytes:
    """Sign other payload bytes with the right key."""
    return envelope(LICENSE_TYPE, text.encode(), [VENDOR.key])


def shapes() -> Iterator[Case]:
    """Sections 1 to 3 of the specification: size, JSON, base64, members."""
    text = GOOD.decode()
    yield Case("white space in the envelope means nothing", "OK", json.dumps(OUTER, indent=2).encode())
    yield Case("escapes in the envelope mean nothing", "OK", GOOD.replace(b'"payload"', rb'"\u0070ayload"'))
    yield Case("exactly 65,536 bytes", "OK", GOOD, spaces=65_536 - len(GOOD))
    yield Case("65,537 bytes", "MALFORMED", GOOD, spaces=65_537 - len(GOOD))
    yield Case("empty", "MALFORMED", b"")
    yield Case("truncated", "MALFORMED", GOOD[: len(GOOD) // 2])
    yield Case("NUL bytes", "MALFORMED", bytes(64))
    yield Case("UTF-16", "MALFORMED", text.encode("utf-16"))
    yield Case("byte order mark", "MALFORMED", b"\xef\xbb\xbf" + GOOD)
    yield Case("two objects", "MALFORMED", GOOD + GOOD)
    yield Case("an array", "MALFORMED", b"[" + GOOD.strip() + b"]")
    yield Case("duplicate member", "MALFORMED", GOOD.replace(b'{"payloadType"', b'{"payload":"QQ==","payloadType"'))
    yield Case("duplicate member, escaped", "MALFORMED", GOOD.replace(b'{"pay', rb'{"\u0070ayload":"QQ==","pay', 1))
    yield Case("17 levels deep", "MALFORMED", _outer(x=json.loads("[" * 16 + "]" * 16)))
    yield Case("unknown member", "MALFORMED", _outer(alg="none"))
    yield Case("no signatures member", "MALFORMED", _outer(signatures=None))
    yield Case("empty signatures", "MALFORMED", _outer(signatures=[]))
    yield Case("nine signatures", "MALFORMED", _outer(signatures=OUTER["signatures"] * 9))
    yield Case("one key that signs eight times", "OK", _outer(signatures=OUTER["signatures"] * 8))
    yield Case("unknown member of a signature", "MALFORMED", _signature(cert=""))
    yield Case("payload without padding", "MALFORMED", _outer(payload=_padded(OUTER["payload"]).rstrip("=")))
    yield Case(
        "line break after the payload",
        "MALFORMED",
        _outer(payload=OUTER["payload"] + "\n"),
    )
    yield Case("bits in the padding of a signature", "MALFORMED", _signature(sig=_loose(OUTER["signatures"][0]["sig"])))


def _padded(text: str) -> str:
    """Return a payload whose base64 certainly ends in padding."""
    return base64.b64encode(base64.b64decode(text) + b"\n" * (4 - len(base64.b64decode(text)) % 3)).decode()


def _loose(text: str) -> str:
    """Set the lowest bit that the padding leaves unused: other text, same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = text.rstrip("=")[-1]
    return text.rstrip("=")[:-1] + alphabet[alphabet.index(last) | 1] + "=" * (len(text) - len(text.rstrip("=")))


def signatures() -> Iterator[Case]:
    """Sections 4 and 5: what is signed, by whom, with which algorithm."""
    signed = base64.b64decode(OUTER["payload"])
    moved = signed.replace(b"2024-06-01T00:00:00Z", b"2034-06-01T00:00:00Z")
    stranger, good, lease = Key("stranger"), OUTER["signatures"][0], VENDOR.lease_key.public.keyid
    yield Case("changed payload", "BAD_SIGNATURE", _outer(payload=base64.b64encode(moved).decode()))
    yield Case("changed type", "BAD_SIGNATURE", _outer(payloadType=LEASE_TYPE))
    yield Case("changed signature", "BAD_SIGNATURE", _signature(sig="A" * 86 + "=="))
    yield Case("short signature", "BAD_SIGNATURE", _signature(sig="QQ=="))
    yield Case("named after another key", "BAD_SIGNATURE", _signature(keyid=lease))
    yield Case("no key id", "UNKNOWN_KEY", _signature(keyid=""))
    yield Case("signed by a stranger", "UNKNOWN_KEY", VENDOR.signed(VENDOR.payload(), stranger))
    yield Case(
        "a stranger under the vendor's key id",
        "BAD_SIGNATURE",
        VENDOR.signed(VENDOR.payload(), Key("stranger", ED25519, VENDOR.key.public.keyid)),
    )
    yield Case("signed by the root key", "UNKNOWN_KEY", VENDOR.signed(VENDOR.payload(), VENDOR.root))
    yield Case("a stranger signs along", "OK", VENDOR.signed(VENDOR.payload(), stranger, VENDOR.key))
    yield Case(
        "a false signature beside the true one",
        "BAD_SIGNATURE",
        _outer(signatures=[good, {"keyid": lease, "sig": good["sig"]}]),
    )
    yield Case("signed by the lease key", "KEY_NOT_VALID", VENDOR.signed(VENDOR.payload(), VENDOR.lease_key))
    yield Case("the lease key signs along", "OK", VENDOR.signed(VENDOR.payload(), VENDOR.lease_key, VENDOR.key))
    yield Case("signed by a retired key", "OK", VENDOR.signed(VENDOR.payload(), RETIRED_KEY))
    yield Case("signed by a revoked key", "KEY_COMPROMISED", VENDOR.signed(VENDOR.payload(), REVOKED_KEY))
    yield Case("signed by a key of later years", "KEY_NOT_VALID", VENDOR.signed(VENDOR.payload(), LATE_KEY))
    yield Case("a key of mixed order that signs nothing", "OK", GOOD, trust="mixed order")
    by_mixed = {"keyid": MIXED_KEY.keyid, "sig": good["sig"]}
    yield Case("a key of mixed order", "TRUST_INVALID", _outer(signatures=[by_mixed]), trust="mixed order")
    yield Case(
        "a key of mixed order signs along", "TRUST_INVALID", _outer(signatures=[good, by_mixed]), trust="mixed order"
    )
    yield Case("both algorithms", "OK", _hybrid(), trust="hybrid")
    yield Case("Ed25519 alone where both are required", "MISSING_SIGNATURE", GOOD, trust="hybrid")


def equations() -> Iterator[Case]:
    """Section 5: Ed25519 signatures on which implementations differ (made with the private key, so no forgeries)."""
    eighth = decode(bytes.fromhex(SMALL_ORDER["order 8, a"]))
    yield Case("another nonce", "OK", _by_hand(nonce=7))
    yield Case("S + L", "BAD_SIGNATURE", _by_hand(nonce=7, add_order=True))
    mixed = encode(add(times(7, BASE), eighth))
    yield Case("R with a part of order 8", "BAD_SIGNATURE", _by_hand(nonce=7, first=mixed))
    yield Case("R is the neutral element", "OK", _by_hand(nonce=0))
    for name in ("order 1, sign set", "order 1, y + p", "order 1, y + p, sign set", "order 2", "order 4", "order 8, a"):
        first = bytes.fromhex(SMALL_ORDER[name])
        yield Case(f"R of {name}", "BAD_SIGNATURE", _by_hand(nonce=0, first=first))


def _by_hand(*, nonce: int, first: bytes | None = None, add_order: bool = False) -> bytes:
    message = pae(LICENSE_TYPE, base64.b64decode(OUTER["payload"]))
    seed = b"vendor license".ljust(32, b".")
    signed = sign(seed, message, nonce=nonce, first=first, add_order=add_order)
    return _signature(sig=base64.b64encode(signed).decode())


def _hybrid() -> bytes:
    """Return the file kept beside this one: ML-DSA signs with fresh randomness each time."""
    if not HYBRID_FILE.exists():
        HYBRID_FILE.write_bytes(HYBRID.license())
    return HYBRID_FILE.read_bytes()


def types() -> Iterator[Case]:
    """Other signed files, and other formats."""
    yield Case("a test licence", "TEST_LICENSE", VENDOR.test_license())
    yield Case("a lease", "UNSUPPORTED_FORMAT", VENDOR.lease())
    yield Case("a lease signed by the licence key", "UNSUPPORTED_FORMAT", VENDOR.lease(VENDOR.key))
    yield Case("format 2", "UNSUPPORTED_FORMAT", VENDOR.license(format=2, seal={}))
    yield Case("format true", "MALFORMED", VENDOR.license(format=True))
    yield Case("unknown field", "MALFORMED", VENDOR.license(admin=True))
    text = json.dumps(VENDOR.payload(), separators=(",", ":"))
    yield Case("duplicate field", "MALFORMED", _payload(text.replace('"sessions":1', '"sessions":1,"sessions":1')))
    yield Case("number with a fraction", "MALFORMED", _payload(text.replace('"sessions":1', '"sessions":1.0')))
    yield Case("NaN", "MALFORMED", _payload(text.replace('"sessions":1', '"sessions":NaN')))
    yield Case("half a surrogate pair", "MALFORMED", _payload(text.replace("Example Org", r"\ud800 Org")))
    yield Case("number 2^53", "UNSUPPORTED_FORMAT", _payload(text.replace('"format":1', f'"format":{2**53}')))
    yield Case("number 2^53 + 1", "MALFORMED", _payload(text.replace('"format":1', f'"format":{2**53 + 1}')))
    yield Case("number -2^53", "UNSUPPORTED_FORMAT", _payload(text.replace('"format":1', f'"format":{-(2**53)}')))
    yield Case("number of 4,301 digits", "MALFORMED", _payload(text.replace('"format":1', '"format":' + "1" * 4301)))
    yield Case("number -0", "UNSUPPORTED_FORMAT", _payload(text.replace('"format":1', '"format":-0')))
    yield Case("terminal escape in a name", "MALFORMED", VENDOR.license(organization__name="\x1b[31mred"))
    yield Case("time with an offset", "MALFORMED", VENDOR.license(issued_at="2023-06-01T00:00:00+00:00"))
    yield Case("week date", "MALFORMED", VENDOR.license(issued_at="2023-W22-4T00:00:00Z"))
    yield Case("leap second", "MALFORMED", VENDOR.license(issued_at="2023-06-30T23:59:60Z"))
    yield Case("29 February of a common year", "MALFORMED", VENDOR.license(issued_at="2023-02-29T00:00:00Z"))
    yield Case("UUID in upper case", "MALFORMED", VENDOR.license(license_id="0189A000-0000-7000-8000-000000000001"))


def texts() -> Iterator[Case]:
    """Section 6: which characters a text may hold, whatever version of Unicode an interpreter knows."""
    allowed = {
        "U+0378, which Unicode has not assigned": "\u0378",
        "U+1E4D0, which Unicode 15 assigned": "\U0001e4d0",
        "U+2FFC, which Unicode 15.1 assigned": "\u2ffc",
        "U+1C89, which Unicode 16 assigned": "\u1c89",
        "U+A7CE, which Unicode 17 assigned": "\ua7ce",
        "U+3FFFD, the last of a plane that is not assigned": "\U0003fffd",
        "U+E0100, a variation selector": "\u845b\U000e0100",
        "U+FE0F, a variation selector": "\u2603\ufe0f",
        "U+0301, a combining mark": "e\u0301",
        "U+FFFD, the replacement character": "\ufffd",
        "U+00A1": "\u00a1",
    }
    for what, name in allowed.items():
        yield Case(f"a name with {what}", "OK", VENDOR.license(organization__name=f"Example {name}"))
    refused = (
        *("0000", "001F", "007F", "009F", "00A0", "00AD", "061C", "1680", "180E", "2003", "200B", "200F", "2028"),
        *("202E", "202F", "2065", "2066", "206F", "3000", "E000", "FDD0", "FDEF", "FEFF", "FFF0", "FFFB", "FFFE"),
        *("FFFF", "110BD", "13430", "13439", "1BCA0", "1D173", "1FFFE", "8FFFF", "E0001", "E007F", "E0FFF", "EFFFE"),
        *("F0000", "10FFFF"),
    )
    for code in refused:
        name = f"Example {chr(int(code, 16))} Ltd"
        yield Case(f"a name with U+{code}", "MALFORMED", VENDOR.license(organization__name=name))
    yield Case("a name of 320 characters", "OK", VENDOR.license(organization__name="\U0001f511" * 320))
    yield Case("a name of 321 characters", "MALFORMED", VENDOR.license(organization__name="a" * 321))
    yield Case("a name of no characters", "MALFORMED", VENDOR.license(organization__name=""))


def rules() -> Iterator[Case]:
    """The vendor's rules, each broken in a file signed with the right key, and each at its exact instant."""
    late = {"subscription__starts_at": "2024-01-01T00:00:00Z", "subscription__ends_at": "2025-01-01T00:00:00Z"}
    end = "2024-06-01T00:00:00Z"
    yield Case("licence", "OK", GOOD)
    yield Case("floating licence of 25 sessions", "OK", VENDOR.license(product="KRE", sessions=25), product="KRE")
    yield Case("licence for another product", "WRONG_PRODUCT", GOOD, product="KRE")
    yield Case("product out of the catalogue", "WRONG_PRODUCT", VENDOR.license(product="XXX"), product="XXX")
    yield Case("named licence without a user", "MALFORMED", VENDOR.license(user=None))
    yield Case("named licence of two sessions", "MALFORMED", VENDOR.license(sessions=2))
    yield Case("monthly", "NOT_ANNUAL", VENDOR.license(subscription__term="monthly"))
    yield Case("eleven months", "NOT_ANNUAL", VENDOR.license(subscription__ends_at="2024-05-01T00:00:00Z"))
    for years, code in ((10, "OK"), (11, "NOT_ANNUAL"), (7003, "NOT_ANNUAL")):
        ends = f"{2023 + years}-06-01T00:00:00Z"
        yield Case(f"{years} years", code, VENDOR.license(subscription__ends_at=ends, expires_at=ends))
    month = {"subscription__term": "monthly", "expires_at": "2024-06-01T00:00:00Z"}
    for ends, code in (("2025-06-01T00:00:00Z", "OK"), ("2025-06-01T00:00:01Z", "NOT_ANNUAL")):
        file = VENDOR.license(subscription__ends_at=ends, **month)
        yield Case(f"months until {ends} where two years are allowed", code, file, trust="months")
    last = VENDOR.license(issued_at="2024-01-16T23:59:59Z", expires_at="2025-01-01T00:00:00Z", **late)
    yield Case("issued in the last second before the sunset", "OK", last, now="2024-12-31T23:59:59Z")
    past = VENDOR.license(issued_at="2024-01-17T00:00:00Z", expires_at="2025-01-01T00:00:00Z", **late)
    yield Case("issued at the sunset", "ISSUED_AFTER_SUNSET", past, now="2024-06-01T00:00:00Z")
    yield Case("past the subscription", "EXPIRY_AFTER_SUBSCRIPTION", VENDOR.license(expires_at="2024-06-01T00:00:01Z"))
    yield Case("born expired", "EXPIRY_IN_PAST", VENDOR.license(expires_at="2023-06-01T00:00:00Z"))
    yield Case("issued after the subscription", "SUBSCRIPTION_ENDED", _ended())
    yield Case("first second", "OK", GOOD, now="2023-06-01T00:00:00Z")
    yield Case("second before the first", "NOT_YET_VALID", GOOD, now="2023-05-31T23:59:59Z")
    yield Case("last second", "OK", GOOD, now="2024-05-31T23:59:59Z")
    yield Case("second of expiry", "EXPIRED", GOOD, now=end)
    yield Case("another machine", "MACHINE_MISMATCH", GOOD, machine_id=str(OTHER_MACHINE))
    yield Case("another user of the machine", "USER_MISMATCH", GOOD, machine_id=str(OTHER_USER))
    yield Case("machine ID in upper case", "MALFORMED", VENDOR.license(machine_id=str(MACHINE).upper()))
    later = VENDOR.license(issued_at="2023-09-01T00:00:00Z")
    yield Case("five minutes before its issue", "OK", later, now="2023-08-31T23:55:00Z")
    for name in ("leases only", "offline too"):
        yield Case(f"in the last second of a fresh bundle, {name}", "OK", GOOD, now="2023-12-01T11:59:59Z", trust=name)
    yield Case("a stale bundle, where leases only need a fresh one", "OK", GOOD, trust="leases only")
    yield Case("a stale bundle, where licences need a fresh one too", "TRUST_STALE", GOOD, trust="offline too")
    yield Case("expired under a stale bundle", "EXPIRED", GOOD, now=end, trust="offline too")
    yield Case("more than five minutes before its issue", "CLOCK_ROLLED_BACK", later, now="2023-08-31T23:54:59Z")


def _ended() -> bytes:
    return VENDOR.license(
        subscription__starts_at="2022-06-01T00:00:00Z",
        subscription__ends_at="2023-06-01T00:00:00Z",
        expires_at="2023-06-01T00:00:00Z",
    )


def all_cases() -> list[Case]:
    """Return every vector."""
    return [*shapes(), *signatures(), *equations(), *types(), *texts(), *rules()]


MONTHS = Vendor(policy=default_policy()._replace(eligible_terms=("annual", "monthly"), max_years=2))
LEASES_ONLY = Vendor()
OFFLINE_TOO = Vendor(policy=default_policy()._replace(freshness_required=("lease", "offline")))
LEASES_ONLY.fresh_until = OFFLINE_TOO.fresh_until = datetime.fromisoformat(NOW)
TRUST = {
    "classic": BUNDLE,
    "hybrid": HYBRID.bundle_bytes(),
    "months": MONTHS.bundle_bytes(),
    "mixed order": VENDOR.bundle_bytes(
        keys=[VENDOR.trusted(VENDOR.key), VENDOR.trusted(VENDOR.key)._replace(key=MIXED_KEY)]
    ),
    "leases only": LEASES_ONLY.bundle_bytes(),
    "offline too": OFFLINE_TOO.bundle_bytes(),
}
