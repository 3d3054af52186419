"""The root keys that are at hand: which of them must sign a version, and their passphrases, which may differ."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from keyseat_issuer.keys.store import KeyStore, SigningKey
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import MAX_SIGNATURES, MAX_SIZE
from keyseat_shared.errors import KeyseatError
from keyseat_shared.keys import SIGNATURE_SIZE, PublicKey
from keyseat_shared.trust import Quorum

RootPassphrases = Callable[[PublicKey], Iterator[str]]
"""The passphrases to try on a root key, one after another; a person is asked only as one is taken."""

_AROUND = 200
"""Bytes of the envelope around the payload, and of an entry around its signature, at most."""


def missing(wanted: Iterable[Quorum], signed: Iterable[PublicKey]) -> list[Quorum]:
    """Return what is left of ``wanted`` once these keys have signed; empty where nothing is.

    Each has the keys that can still sign, and how many of them must. One that another contains is left out.
    """
    have = list(signed)
    left: list[Quorum] = []
    for quorum in wanted:
        needed = quorum.needed - len([key for key in quorum.keys if key in have])
        if needed > 0:
            open_keys = tuple([key for key in quorum.keys if key not in have])
            left.append(Quorum(open_keys, needed, quorum.algorithm))
    return [quorum for place, quorum in enumerate(left) if not _is_implied(quorum, left, place)]


def _is_implied(quorum: Quorum, left: Sequence[Quorum], place: int) -> bool:
    """Tell whether the other quorums imply this one, so that it need not be asked for."""
    inside = [
        other
        for at, other in enumerate(left)
        if set(other.keys) < set(quorum.keys)
        or (set(other.keys) == set(quorum.keys) and (-other.needed, at) < (-quorum.needed, place))
    ]
    apart: dict[PublicKey, Quorum] = {}
    enough = 0
    for other in sorted(inside, key=lambda found: -found.needed):
        if not any(key in apart for key in other.keys):
            apart.update(dict.fromkeys(other.keys, other))
            enough += other.needed
    return enough >= quorum.needed


def choose(keys: Iterable[PublicKey], wanted: Sequence[Quorum]) -> list[PublicKey]:
    """Return the fewest of ``keys`` that meet all of ``wanted``, or as much of it as they can.

    Those that count for the present root and the next one go first.
    """
    chosen: list[PublicKey] = []
    for key in sorted(keys, key=lambda key: -len([quorum for quorum in wanted if key in quorum.keys])):
        if any(key in quorum.keys for quorum in missing(wanted, chosen)) and key not in chosen:
            chosen.append(key)
    return chosen


def signature_room(payload: bytes) -> int:
    """Return how many bytes of raw signatures fit into a bundle file with this payload, less what surrounds them."""
    return (MAX_SIZE - _AROUND) * 3 // 4 - len(payload) - 3


def entry_size(key: PublicKey) -> int:
    """Return the raw bytes that a signature of ``key`` takes of ``signature_room``."""
    return SIGNATURE_SIZE[key.algorithm] + (len(key.keyid) * 6 + _AROUND) * 3 // 4


def fitting(keys: Iterable[PublicKey], payload: bytes, first: Sequence[PublicKey] = ()) -> list[PublicKey]:
    """Return those of ``keys`` whose signatures fit into the file beside those of ``first``."""
    room = signature_room(payload) - sum([entry_size(key) for key in first])
    places = MAX_SIGNATURES - len(first)
    found: list[PublicKey] = []
    for key in keys:
        if places > len(found) and entry_size(key) <= room and key not in (*first, *found):
            found.append(key)
            room -= entry_size(key)
    return found


def require_room(payload: bytes, wanted: Sequence[Quorum]) -> None:
    """Refuse a version that does not fit into a file with the signatures that it needs.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    needed = choose([key for quorum in wanted for key in quorum.keys], wanted)
    if len(fitting(needed, payload)) < len(needed):
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"that takes {len(needed)} signatures, which do not fit into a trust bundle"
            f" ({MAX_SIGNATURES} signatures, {MAX_SIZE // 1024} KiB)",
            next_step="Change fewer root keys at a time, or drop keys that are not needed any more.",
        )


class RootKeys:
    """Opens root keys of a store, each with the first of its passphrases that fits."""

    def __init__(self, store: KeyStore, passphrases: RootPassphrases) -> None:
        """Nothing is read or asked for yet."""
        self._store = store
        self._passphrases = passphrases
        self._good: list[str] = []

    def are_here(self, keys: Iterable[PublicKey]) -> list[PublicKey]:
        """Return those of ``keys`` whose private halves are at hand."""
        return [key for key in keys if self._store.find(key.keyid) is not None]

    def open(self, key: PublicKey) -> SigningKey:
        """Open one key.

        Raises:
            KeyseatError: ``KEY_UNAVAILABLE``.
        """
        stored = self._store.find(key.keyid)
        given = self._passphrases(key)
        if stored is None or stored.kind != "pem":
            # A device counts wrong PINs: it gets one try.
            return self._store.open(key, lambda: next(given, ""))
        refused: KeyseatError | None = None
        for passphrase in _each_once([*self._good], given):
            try:
                opened = self._store.open(key, passphrase)
            except KeyseatError as error:
                refused = error
                continue
            if passphrase not in self._good:
                self._good.append(passphrase)
            return opened
        raise refused or KeyseatError(ReasonCode.KEY_UNAVAILABLE, f"there is no passphrase for the key {key.keyid}")

    def open_quietly(self, keys: Iterable[PublicKey]) -> list[SigningKey]:
        """Try the passphrases that have opened other keys. Nobody is asked; a key that stays locked is left out."""
        found: list[SigningKey] = []
        for key in self.are_here(keys):
            for passphrase in [*self._good]:
                with contextlib.suppress(KeyseatError):
                    found.append(self._store.open(key, passphrase))
                    break
        return found

    def sign_for(
        self, wanted: Sequence[Quorum], made: Mapping[PublicKey, SigningKey]
    ) -> tuple[list[SigningKey], KeyseatError | None]:
        """Open the fewest keys that meet ``wanted``, or as many as can be; ``made`` are open already.

        The second value is the first key that did not open, where that is why ``wanted`` is not met.
        """
        usable = [*made, *self.are_here(dict.fromkeys([key for quorum in wanted for key in quorum.keys]))]
        opened: dict[PublicKey, SigningKey] = dict(made)
        refused: KeyseatError | None = None
        while True:
            chosen = choose(usable, wanted)
            closed = [key for key in chosen if key not in opened]
            if not closed:
                break
            try:
                opened[closed[0]] = self.open(closed[0])
            except KeyseatError as error:
                refused = refused or error
                usable.remove(closed[0])
        unmet = missing(wanted, chosen)
        return [opened[key] for key in chosen], refused if unmet else None


def _each_once(known: Iterable[str], more: Iterator[str]) -> Iterator[str]:
    tried: set[str] = set()
    for source in (known, more):
        for passphrase in source:
            if passphrase not in tried:
                tried.add(passphrase)
                yield passphrase
