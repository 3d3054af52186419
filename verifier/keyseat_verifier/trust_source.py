"""The trust bundle in use: the one a program pins, or a newer one from its home folder that the update rule allows."""

import os

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import TrustError, VerificationError
from keyseat_shared.trust import TrustBundle
from keyseat_verifier.files import read_file
from keyseat_verifier.paths import TRUST, shown
from keyseat_verifier.store import Stamp, stamp
from keyseat_verifier.verifier import Clock, Verifier


class TrustSource:
    """Gives the verifier for the bundle in use, and notices when a newer bundle lies in the home folder."""

    __slots__ = ("_allow_example_keys", "_clock", "_loaded", "_pinned", "_product", "path")

    def __init__(
        self, pinned: TrustBundle, home: str, product: str, *, clock: Clock | None, allow_example_keys: bool
    ) -> None:
        """Keep what was given; nothing is read yet."""
        self.path = os.path.join(home, TRUST)
        self._pinned = pinned
        self._product = product
        self._clock = clock
        self._allow_example_keys = allow_example_keys
        self._loaded: tuple[Stamp, Verifier, tuple[str, ...]] | None = None

    def load(self) -> tuple[Verifier, tuple[str, ...]]:
        """Return the verifier for the bundle in use, and warnings about a bundle that was not adopted."""
        present = stamp(self.path)
        loaded = self._loaded
        if loaded is None or loaded[0] != present:
            trust, warnings = self._newest()
            verifier = Verifier(trust, self._product, clock=self._clock, allow_example_keys=self._allow_example_keys)
            self._loaded = loaded = (present, verifier, warnings)
        return loaded[1], loaded[2]

    def verifier(self) -> Verifier:
        """Return the verifier alone."""
        return self.load()[0]

    def approve(self, data: bytes) -> None:
        """Require that a bundle may replace the one in use, and would be adopted from the home folder.

        Raises:
            TrustError: the update rule does not allow it.
        """
        for bundle in (self.verifier().trust, self._pinned):
            bundle.update(data, allow_example_keys=self._allow_example_keys)

    def _newest(self) -> tuple[TrustBundle, tuple[str, ...]]:
        if not os.path.exists(self.path):
            return self._pinned, ()
        try:
            # By the update rule only: a bundle that somebody puts there cannot replace the pinned keys.
            newest = self._pinned.update(read_file(self.path), allow_example_keys=self._allow_example_keys)
        except TrustError as error:
            if error.code is ReasonCode.TRUST_ROLLBACK:
                return self._pinned, ()  # an older one that an earlier version of the program left there
            return self._pinned, (f"{shown(self.path)} was not adopted: {error.message}",)
        except VerificationError as error:
            return self._pinned, (f"{shown(self.path)} was not adopted: {error.message}",)
        return newest, ()
