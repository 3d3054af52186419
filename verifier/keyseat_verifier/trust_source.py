"""The trust bundle in use: the one a program pins, or a newer one from its home folder that the update rule allows.

Where no root key of the pinned bundle has signed the newest, the update rule leads there over versions in between.
Those are kept beside it: ``trust/<version>.json``.
"""

import os

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, TrustError
from keyseat_shared.files import read_file
from keyseat_shared.trust import TrustBundle
from keyseat_verifier.paths import TRUST, TRUST_STEPS, shown, write_private
from keyseat_verifier.store import Stamp, stamp
from keyseat_verifier.verifier import Clock, Verifier

_DIGITS = 16
"""Longest version number: 2**53."""


class TrustSource:
    """Gives the verifier for the bundle in use, and notices when a newer bundle lies in the home folder."""

    __slots__ = ("_allow_example_keys", "_clock", "_folder", "_loaded", "_pinned", "_product", "_unkept", "path")

    def __init__(
        self, pinned: TrustBundle, home: str, product: str, *, clock: Clock | None, allow_example_keys: bool
    ) -> None:
        """Keep what was given; nothing is read yet."""
        self.path = os.path.join(home, TRUST)
        self._folder = os.path.join(home, TRUST_STEPS)
        self._pinned = pinned
        self._product = product
        self._clock = clock
        self._allow_example_keys = allow_example_keys
        self._loaded: tuple[Stamp, Verifier, tuple[str, ...]] | None = None
        self._unkept: TrustBundle | None = None

    def load(self) -> tuple[Verifier, tuple[str, ...]]:
        """Return the verifier for the bundle in use, and warnings about a bundle that was not adopted."""
        present = stamp(self.path)
        loaded = self._loaded
        if loaded is None or loaded[0] != present:
            trust, warnings = self._newest()
            if self._unkept is not None and self._unkept.version > trust.version:
                trust = self._unkept
            verifier = Verifier(trust, self._product, clock=self._clock, allow_example_keys=self._allow_example_keys)
            self._loaded = loaded = (present, verifier, warnings)
        return loaded[1], loaded[2]

    def verifier(self) -> Verifier:
        """Return the verifier alone."""
        return self.load()[0]

    def adopt(self, data: bytes) -> None:
        """Keep a newer bundle in the home folder, if the update rule allows it from the bundle in use.

        Where nothing can be written there it counts for this process: a home that is read-only locks nobody out.

        Raises:
            TrustError: the update rule does not allow it.
        """
        present = self.verifier().trust
        newer = self._update(present, data)
        try:
            self._write(present, data)
        except OSError:
            self._unkept = newer
            self._loaded = None

    def _write(self, present: TrustBundle, data: bytes) -> None:
        try:
            self._update(self._pinned, data)
        except TrustError:
            # The next start has to come the same way, so what led here is kept first.
            write_private(os.path.join(self._folder, f"{present.version}.json"), present.data)
        write_private(self.path, data)

    def _newest(self) -> tuple[TrustBundle, tuple[str, ...]]:
        if not os.path.exists(self.path):
            return self._pinned, ()
        trust = self._pinned
        try:
            # By the update rule only: a bundle that somebody puts there cannot replace the pinned keys.
            data = read_file(self.path)
            try:
                return self._update(trust, data), ()
            except TrustError as error:
                if error.code is not ReasonCode.TRUST_INVALID:
                    raise
            trust = self._stepped()
            return self._update(trust, data), ()
        except KeyseatError as error:
            if error.code is ReasonCode.TRUST_ROLLBACK:
                return trust, ()  # an older one that an earlier version of the program left there
            return trust, (f"{shown(self.path)} was not adopted: {error.message}",)

    def _stepped(self) -> TrustBundle:
        """Return the bundle that the versions kept in between lead to."""
        trust = self._pinned
        for number in _numbers(self._folder):
            if number > trust.version:
                try:
                    trust = self._update(trust, read_file(os.path.join(self._folder, f"{number}.json")))
                except KeyseatError:
                    continue  # a step that leads nowhere from here
        return trust

    def _update(self, trust: TrustBundle, data: bytes) -> TrustBundle:
        return trust.update(data, allow_example_keys=self._allow_example_keys)


def _numbers(folder: str) -> list[int]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    stems = [name[:-5] for name in names if name.endswith(".json")]
    return sorted([int(stem) for stem in stems if stem.isascii() and stem.isdecimal() and len(stem) <= _DIGITS])
