"""The vectors of trust bundles: a bundle to load, or one offered as an update of another, and what must come out."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from edwards import BASE, SMALL_ORDER, add, decode, encode, times
from keyseat_shared.envelope import TRUST_TYPE, Envelope, Signature, pae
from keyseat_shared.keys import ED25519, ML_DSA_65, PublicKey
from keyseat_shared.trust import LEASE, LICENSE, TrustedKey, bundle_payload
from vendor import Key, Vendor

VENDOR = Vendor(hybrid=True)
BOTH = (ED25519, ML_DSA_65)
ADA, BOB, EVE, THIEF = [Key(f"root {name}") for name in ("ada", "bob", "eve", "thief")]
ADA_2, BOB_2, EVE_2, THIEF_2 = [Key(f"root {name}", ML_DSA_65) for name in ("ada", "bob", "eve", "thief")]
KEYS = (VENDOR.trusted(VENDOR.key, LICENSE), VENDOR.trusted(VENDOR.lease_key, LEASE))
FORGED_KEYS = (VENDOR.trusted(THIEF),)
MIXED = Key("root mixed")
MIXED.public = PublicKey(
    ED25519, encode(add(times(5, BASE), decode(bytes.fromhex(SMALL_ORDER["order 8, a"])))), "mixed order"
)
KEPT = Path(__file__).with_name("trust_signatures.json")
"""ML-DSA signatures, which are other bytes each time: kept, so that a rebuild gives no difference."""
_kept: dict[str, str] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
_used: dict[str, str] = {}


class Case(NamedTuple):
    """One vector. ``present`` names the bundle in use; without it the offered one is loaded as a pinned one."""

    name: str
    code: str
    offered: bytes
    present: str = ""


def _sign(key: Key, payload: bytes) -> Signature:
    if key.public.algorithm == ED25519:
        return key.sign(TRUST_TYPE, payload)
    name = hashlib.sha256(key.public.raw + pae(TRUST_TYPE, payload)).hexdigest()
    _used[name] = _used.get(name) or _kept.get(name) or base64.b64encode(key.sign(TRUST_TYPE, payload).sig).decode()
    return Signature(key.public.keyid, base64.b64decode(_used[name]))


def bundle(
    version: int,
    root: Sequence[Key],
    signers: Sequence[Key],
    *,
    threshold: int = 1,
    required: tuple[str, ...] = BOTH,
    keys: tuple[TrustedKey, ...] = KEYS,
) -> bytes:
    """Return a bundle file signed by ``signers``, in that order."""
    payload = bundle_payload(
        version=version,
        issued_at=VENDOR.issued_at,
        vendor="Example Vendor",
        root=tuple([key.public for key in root]),
        threshold=threshold,
        keys=keys,
        policy=VENDOR.policy,
        signatures_required=required,
    )
    return Envelope(TRUST_TYPE, payload, tuple([_sign(key, payload) for key in signers])).to_bytes()


def _renamed(data: bytes, old: Key, new: Key) -> bytes:
    """Return the file with signatures of ``old`` under the key id of ``new``."""
    envelope = Envelope.from_bytes(data)
    names = {old.public.keyid: new.public.keyid}
    listed = [Signature(names.get(entry.keyid, entry.keyid), entry.sig) for entry in envelope.signatures]
    return envelope._replace(signatures=tuple(listed)).to_bytes()


THREE = (ADA, BOB, EVE)
PAIRS = (ADA, BOB, EVE, ADA_2, BOB_2, EVE_2)
ONE_PAIR = (ADA, ADA_2)
PRESENT = {
    "classic": bundle(3, [ADA], [ADA], required=(ED25519,)),
    "two of three": bundle(3, THREE, [ADA, BOB], threshold=2, required=(ED25519,)),
    "hybrid": bundle(3, ONE_PAIR, ONE_PAIR),
    "hybrid, two of three": bundle(3, PAIRS, [ADA, BOB, ADA_2, BOB_2], threshold=2),
    "hybrid under an Ed25519 root": bundle(3, [ADA], [ADA]),
}


def loading() -> Iterator[Case]:
    """A pinned bundle, against its own root."""
    for name, data in PRESENT.items():
        yield Case(f"loads: {name}", "OK", data)
    yield Case("two of three, one signed", "TRUST_INVALID", bundle(3, THREE, [BOB], threshold=2, required=(ED25519,)))
    twice = bundle(3, THREE, [BOB, BOB], threshold=2, required=(ED25519,))
    yield Case("two of three, one signed twice", "TRUST_INVALID", twice)
    alias = _renamed(twice, BOB, ADA)
    yield Case("two of three, one signed under another's id", "TRUST_INVALID", alias)
    stranger = bundle(3, THREE, [BOB, THIEF], threshold=2, required=(ED25519,))
    yield Case("two of three, one and a stranger", "TRUST_INVALID", stranger)
    yield Case("hybrid, Ed25519 root alone", "TRUST_INVALID", bundle(3, ONE_PAIR, [ADA]))
    yield Case("hybrid, ML-DSA root alone", "TRUST_INVALID", bundle(3, ONE_PAIR, [ADA_2]))
    crossed = _renamed(bundle(3, ONE_PAIR, [ADA]), ADA, ADA_2)
    yield Case("hybrid, Ed25519 signature under the ML-DSA key's id", "TRUST_INVALID", crossed)
    for name, signers in {
        "hybrid, two of three: Ed25519 alone": [ADA, BOB, EVE],
        "hybrid, two of three: ML-DSA alone": [ADA_2, BOB_2, EVE_2],
        "hybrid, two of three: two and one": [ADA, BOB, ADA_2],
    }.items():
        yield Case(name, "TRUST_INVALID", bundle(3, PAIRS, signers, threshold=2))
    apart = bundle(3, PAIRS, [ADA, BOB, BOB_2, EVE_2], threshold=2)
    yield Case("hybrid, two of three: other people for each algorithm", "OK", apart)
    total = bundle(3, ONE_PAIR, ONE_PAIR, threshold=2)
    yield Case("a threshold of two over one key of each algorithm", "OK", total)
    for name, root in {"one of each algorithm": ONE_PAIR, "ML-DSA keys alone": (ADA_2, BOB_2)}.items():
        half = bundle(3, root, root[:1], threshold=2, required=(ED25519,))
        yield Case(f"a threshold of two over {name}, Ed25519 required, one signed", "TRUST_INVALID", half)
        whole = bundle(3, root, root, threshold=2, required=(ED25519,))
        yield Case(f"a threshold of two over {name}, Ed25519 required, both signed", "OK", whole)
    listed = bundle(3, ONE_PAIR, [ADA_2], required=(ED25519,))
    yield Case("ML-DSA root keys do not stand in for Ed25519", "TRUST_INVALID", listed)


def updating() -> Iterator[Case]:
    """A bundle that is offered to a client, which has another."""
    plain = (ED25519,)
    forged = {"required": plain, "keys": FORGED_KEYS}
    yield Case(
        "forged with the Ed25519 root, which it names alone",
        "TRUST_INVALID",
        bundle(4, [ADA], [ADA], **forged),
        "hybrid",
    )
    yield Case(
        "forged with the Ed25519 root, both listed", "TRUST_INVALID", bundle(4, ONE_PAIR, [ADA], **forged), "hybrid"
    )
    own = bundle(4, [ADA, THIEF_2], [ADA, THIEF_2], keys=FORGED_KEYS)
    yield Case("forged with the Ed25519 root and a new ML-DSA root", "TRUST_INVALID", own, "hybrid")
    three = bundle(4, THREE, THREE, threshold=2, **forged)
    yield Case("forged with all Ed25519 roots", "TRUST_INVALID", three, "hybrid, two of three")
    dropped = bundle(4, ONE_PAIR, [ADA], required=plain)
    yield Case("an algorithm dropped by one root", "TRUST_INVALID", dropped, "hybrid")
    yield Case(
        "an algorithm dropped by the other", "TRUST_INVALID", bundle(4, ONE_PAIR, [ADA_2], required=plain), "hybrid"
    )
    yield Case("an algorithm dropped by both roots", "OK", bundle(4, [ADA], ONE_PAIR, required=plain), "hybrid")
    silent = bundle(4, [ADA], [ADA], required=plain)
    yield Case("an algorithm dropped that has no root", "TRUST_INVALID", silent, "hybrid under an Ed25519 root")
    upgrade = bundle(4, ONE_PAIR, ONE_PAIR)
    yield Case("a root for an algorithm that had none", "OK", upgrade, "hybrid under an Ed25519 root")
    half = bundle(4, ONE_PAIR, [ADA])
    yield Case("a root for an algorithm that had none, unsigned", "TRUST_INVALID", half, "hybrid under an Ed25519 root")
    kept = bundle(4, [ADA], [ADA])
    yield Case("no root for it, as before", "OK", kept, "hybrid under an Ed25519 root")
    yield Case("an algorithm is added with its root", "OK", bundle(4, ONE_PAIR, ONE_PAIR), "classic")
    yield Case("an algorithm is added, its root has not signed", "TRUST_INVALID", bundle(4, ONE_PAIR, [ADA]), "classic")
    yield Case(
        "the root keys of an algorithm not required yet", "OK", bundle(4, ONE_PAIR, [ADA], required=plain), "classic"
    )
    lost = (ADA, BOB, THIEF)
    rotated = bundle(4, lost, [ADA, BOB], threshold=2, required=plain)
    yield Case("a lost root key is replaced by the other two", "OK", rotated, "two of three")
    stolen = bundle(4, lost, [EVE, THIEF], threshold=2, required=plain)
    yield Case("a stolen root key replaces another", "TRUST_INVALID", stolen, "two of three")
    lowered = bundle(4, THREE, [EVE], required=plain)
    yield Case("a stolen root key lowers the threshold", "TRUST_INVALID", lowered, "two of three")
    pair = bundle(4, (ADA, BOB, THIEF, ADA_2, BOB_2, THIEF_2), [ADA, BOB, ADA_2, BOB_2], threshold=2)
    yield Case("a lost pair is replaced by the other two", "OK", pair, "hybrid, two of three")
    old = bundle(3, ONE_PAIR, ONE_PAIR, keys=FORGED_KEYS)
    yield Case("the same version, other content", "TRUST_ROLLBACK", old, "hybrid")
    yield Case("the same bytes", "OK", PRESENT["hybrid"], "hybrid")
    yield Case("an older version by the Ed25519 root", "TRUST_INVALID", bundle(2, [ADA], [ADA], **forged), "hybrid")


def checks() -> Iterator[Case]:
    """Section 3: when a key is checked, and what an entry by one that fails does (MIXED is no point of prime order)."""
    plain = (ED25519,)
    mixed_root = (ADA, MIXED, BOB)
    yield Case("a root key of mixed order that signs nothing", "OK", bundle(3, mixed_root, [ADA], required=plain))
    for name, signers in {
        "before": [MIXED, ADA, BOB],
        "between": [ADA, MIXED, BOB],
        "after": [ADA, BOB, MIXED],
    }.items():
        signed = bundle(3, mixed_root, signers, threshold=2, required=plain)
        yield Case(f"an entry by a root key of mixed order, {name} enough good ones", "TRUST_INVALID", signed)
    listed = (*KEYS, VENDOR.trusted(MIXED))
    yield Case("a licence key of mixed order is listed", "OK", bundle(3, [ADA], [ADA], required=plain, keys=listed))
    update = bundle(4, [ADA], [ADA], required=plain, keys=listed)
    yield Case("an update lists a key of mixed order", "TRUST_INVALID", update, "classic")
    update = bundle(4, mixed_root, [ADA], required=plain)
    yield Case("an update lists a root key of mixed order", "TRUST_INVALID", update, "classic")
    good = Envelope.from_bytes(bundle(3, THREE, [ADA, BOB, EVE], threshold=2, required=plain))
    false = good.signatures[2]._replace(sig=good.signatures[0].sig)
    spoilt = good._replace(signatures=(*good.signatures[:2], false))
    yield Case("an entry that does not hold beside enough good ones", "OK", spoilt.to_bytes())
    spoilt = good._replace(signatures=(false, *good.signatures[:1]))
    yield Case("an entry that does not hold and one too few good ones", "TRUST_INVALID", spoilt.to_bytes())
    for order in ("order 1", "order 2", "order 4", "order 8, a", "order 8, d", "order 1, y + p"):
        text = base64.b64encode(bytes.fromhex(SMALL_ORDER[order])).decode()
        payload = good.payload.replace(base64.b64encode(EVE.public.raw), text.encode())
        signed = Envelope(TRUST_TYPE, payload, tuple([_sign(key, payload) for key in (ADA, BOB)]))
        yield Case(f"a root key of {order} that signs nothing", "TRUST_INVALID", signed.to_bytes())
    for code, verdict in (("0378", "OK"), ("1E4D0", "OK"), ("FDD0", "TRUST_INVALID"), ("202E", "TRUST_INVALID")):
        payload = good.payload.replace(b"Example Vendor", f"Example {chr(int(code, 16))}".encode())
        signed = Envelope(TRUST_TYPE, payload, tuple([_sign(key, payload) for key in (ADA, BOB)]))
        yield Case(f"a vendor's name with U+{code}", verdict, signed.to_bytes())


def all_cases() -> list[Case]:
    """Return every vector."""
    return [*loading(), *updating(), *checks()]


def signatures() -> str:
    """Return the file of kept signatures, with those of the present vectors only; call it after ``all_cases``."""
    return json.dumps(_used, indent=0, sort_keys=True) + "\n"
