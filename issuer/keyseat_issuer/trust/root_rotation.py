"""Which root keys come after the present ones: replaced, taken out, added, and of both algorithms."""

from collections.abc import Sequence
from typing import NamedTuple

from keyseat_issuer.causes import Cause
from keyseat_issuer.trust.draft import Draft, find_root_key, refuse_known, require_sound_root
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.keys import ED25519, ML_DSA_65, PublicKey
from keyseat_shared.trust import TrustBundle


class Rotation(NamedTuple):
    """What is asked for: key ids to replace and to drop, public keys made elsewhere, and how many must sign.

    ``given`` keys take the place of replaced ones of their algorithm, in order; what is left of them is added.
    ``hybrid`` asks for as many ML-DSA-65 root keys as there are Ed25519 ones. ``make`` lets missing keys be made
    on this computer where several must sign, or where some are given.
    """

    replace: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    given: tuple[PublicKey, ...] = ()
    threshold: int | None = None
    hybrid: bool = False
    make: bool = False


class Plan(NamedTuple):
    """The root to be, in which ``None`` stands for a key to be made: its algorithm is that of ``make`` in order."""

    root: tuple[PublicKey | None, ...]
    make: tuple[str, ...]
    gone: tuple[PublicKey, ...]
    threshold: int


def plan(trust: TrustBundle, asked: Rotation) -> Plan:
    """Return what a rotation comes to.

    Raises:
        KeyseatError: ``NOT_FOUND``, ``ALREADY_EXISTS`` or ``INVALID_INPUT``.
    """
    for key in asked.given:
        refuse_known(trust, key)
    replaced, dropped = _leaving(trust, asked)
    given = list(dict.fromkeys(asked.given))
    root: list[PublicKey | None] = []
    make: list[str] = []

    def place(algorithm: str) -> None:
        found = next((key for key in given if key.algorithm == algorithm), None)
        if found is None:
            make.append(algorithm)
        else:
            given.remove(found)
        root.append(found)

    for key in trust.root:
        if key in replaced:
            place(key.algorithm)
        elif key not in dropped:
            root.append(key)
    if asked.hybrid:
        for _ in range(_lacking(trust, root, make)):
            place(ML_DSA_65)
    root += given
    threshold = trust.threshold if asked.threshold is None else asked.threshold
    if (tuple(root), threshold) == (trust.root, trust.threshold):
        raise KeyseatError(ReasonCode.INVALID_INPUT, "the root keys are so already")
    _refuse_forgotten(trust, asked, make, threshold)
    return Plan(tuple(root), tuple(make), (*replaced, *dropped), threshold)


def _refuse_forgotten(trust: TrustBundle, asked: Rotation, make: Sequence[str], threshold: int) -> None:
    """A forgotten --new would put a root key beside the ledger, which signs every later proposal by itself."""
    if make and not asked.make and (asked.given or max(threshold, trust.threshold) > 1):
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"no key is given for {len(make)} new root key(s) ({', '.join(make)}); nothing was changed",
            details={"missing": list(make)},
            cause=Cause.ROOT_KEY_NOT_GIVEN,
        )


def _leaving(trust: TrustBundle, asked: Rotation) -> tuple[list[PublicKey], list[PublicKey]]:
    replaced = [find_root_key(trust, keyid) for keyid in asked.replace] or _only_keys(trust, asked)
    dropped = [find_root_key(trust, keyid) for keyid in asked.drop]
    if len({*replaced, *dropped}) < len(replaced) + len(dropped):
        raise KeyseatError(ReasonCode.INVALID_INPUT, "a root key is named twice")
    return replaced, dropped


def _only_keys(trust: TrustBundle, asked: Rotation) -> list[PublicKey]:
    """Return the keys to replace by default: the only one, or the only pair."""
    if asked != Rotation(given=asked.given, make=asked.make):
        return []
    algorithms = [key.algorithm for key in trust.root]
    if len(set(algorithms)) == len(algorithms):
        return [key for key in trust.root if not asked.given or key.algorithm in {g.algorithm for g in asked.given}]
    if asked.given:
        return []
    raise KeyseatError(
        ReasonCode.INVALID_INPUT,
        f"there are {len(trust.root)} root keys; say which one to replace",
        details={"root_keys": [key.keyid for key in trust.root]},
        cause=Cause.ROOT_KEY_WHICH,
    )


def _lacking(trust: TrustBundle, root: Sequence[PublicKey | None], make: Sequence[str]) -> int:
    algorithms = [*[key.algorithm for key in root if key is not None], *make]
    lacking = algorithms.count(ED25519) - algorithms.count(ML_DSA_65)
    if lacking <= 0:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"the root of version {trust.version} has keys of both algorithms already",
            cause=Cause.HYBRID_ALREADY,
        )
    return lacking


def with_root(draft: Draft, root: tuple[PublicKey, ...], threshold: int) -> Draft:
    """Return the draft with another root, once that is sound.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    have = {key.algorithm for key in (*root, *draft.root)}
    # Of a hybrid bundle without an ML-DSA root the other root key can be replaced, as before.
    require_sound_root(root, threshold, tuple([name for name in draft.signatures_required if name in have]))
    return draft._replace(root=root, threshold=threshold)
