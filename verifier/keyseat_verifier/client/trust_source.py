"""The trust bundle in use: the one a program pins, or a newer one from its home folder that the update rule allows.

Where no root key of the pinned bundle has signed the newest, the update rule leads there over versions in between.
Those are kept beside it: ``trust/<version>.json``.

What was in use once is remembered in the account's own place as well (ADR 0018): removing it from the home, replacing
it by an older one or naming another home does not bring a revoked key back.
"""

import contextlib
import os

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, TrustError
from keyseat_shared.files import read_file
from keyseat_shared.trust import TrustBundle
from keyseat_verifier._internal.paths import TRUST, TRUST_STEPS, scope_of, second_state_folder, shown, write_private
from keyseat_verifier.client.store import Stamp, stamp
from keyseat_verifier.verify.verifier import Clock, Verifier

_DIGITS = 16
"""Longest version number: 2**53."""


class TrustSource:
    """Gives the verifier for the bundle in use, and notices when a newer bundle lies in the home folder."""

    __slots__ = (
        *("_allow_example_keys", "_clock", "_folder", "_home", "_loaded", "_memory", "_pinned", "_product", "_unkept"),
        "path",
    )

    def __init__(
        self, pinned: TrustBundle, home: str, product: str, *, clock: Clock | None, allow_example_keys: bool
    ) -> None:
        """Keep what was given; nothing is read yet."""
        self.path = os.path.join(home, TRUST)
        self._home = home
        self._memory = ""
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
        self._remember(newer)

    def _write(self, present: TrustBundle, data: bytes) -> None:
        try:
            self._update(self._pinned, data)
        except TrustError:
            # The next start has to come the same way, so what led here is kept first.
            write_private(os.path.join(self._folder, f"{present.version}.json"), present.data)
        write_private(self.path, data)

    def _newest(self) -> tuple[TrustBundle, tuple[str, ...]]:
        """Return the newest bundle of the home and of the memory, and warnings."""
        trust, warnings = self._from_home()
        newer = [number for number in _numbers(self._memory_folder()) if number > trust.version]
        if not newer:
            if trust is not self._pinned:
                self._remember(trust)
            return trust, warnings
        remembered = self._from_memory(trust, newer[-1])
        if remembered.version < newer[-1]:
            lost = (
                f"version {newer[-1]} of the trust bundle was in use here, and its copy is lost: version"
                f" {remembered.version} counts. Activate online, or put the vendor's newest trust bundle into"
                f" {shown(self.path)}."
            )
            warnings = (*warnings, lost)
        return remembered, warnings

    def _from_home(self) -> tuple[TrustBundle, tuple[str, ...]]:
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
            trust = self._stepped(self._folder)
            return self._update(trust, data), ()
        except KeyseatError as error:
            if error.code is ReasonCode.TRUST_ROLLBACK:
                return trust, ()  # an older one that an earlier version of the program left there
            return trust, (f"{shown(self.path)} was not adopted: {error.message}",)

    def _from_memory(self, trust: TrustBundle, newest: int) -> TrustBundle:
        """Return the newest bundle that the memory leads to, by the update rule like any other."""
        try:
            return self._update(trust, read_file(os.path.join(self._memory_folder(), f"{newest}.json")))
        except KeyseatError:
            stepped = self._stepped(self._folder, self._memory_folder())
        return stepped if stepped.version > trust.version else trust

    def _remember(self, trust: TrustBundle) -> None:
        """Keep a bundle in the memory; where it cannot be written nothing is lost that the home does not have.

        A copy that was spoilt is made again, and steps that only the home has are taken along: there an older client
        left them, or somebody put them.
        """
        folder = self._memory_folder()
        numbers = _numbers(folder)
        kept = trust.version in numbers and _holds(os.path.join(folder, f"{trust.version}.json"), trust.data)
        if kept and not [number for number in _numbers(self._folder) if self._is_step(number, trust, numbers)]:
            return
        with contextlib.suppress(OSError):
            if not kept:
                write_private(os.path.join(folder, f"{trust.version}.json"), trust.data)
            try:
                self._update(self._pinned, trust.data)
            except TrustError:
                for step in self._steps(self._folder, folder):
                    if self._is_step(step.version, trust, numbers):
                        write_private(os.path.join(folder, f"{step.version}.json"), step.data)
            else:  # no step in between is needed
                for number in numbers:
                    if number < trust.version:
                        os.unlink(os.path.join(folder, f"{number}.json"))

    def _is_step(self, number: int, trust: TrustBundle, kept: list[int]) -> bool:
        """Tell whether a version can be a step to a bundle that is not kept yet."""
        return self._pinned.version < number < trust.version and number not in kept

    def _memory_folder(self) -> str:
        # By root keys: programs of several vendors, or of one before and after a rotation, have a memory each.
        if not self._memory:
            self._memory = os.path.join(second_state_folder(self._home), f"trust-{scope_of(self._pinned)}")
        return self._memory

    def _stepped(self, *folders: str) -> TrustBundle:
        """Return the bundle that the versions kept in between lead to."""
        steps = self._steps(*folders)
        return steps[-1] if steps else self._pinned

    def _steps(self, *folders: str) -> list[TrustBundle]:
        """Return the versions kept in between that lead on from the pinned bundle, each from the one before."""
        trust, steps = self._pinned, []
        for number, folder in sorted([(number, place) for place in folders for number in _numbers(place)]):
            if number > trust.version:
                try:
                    trust = self._update(trust, read_file(os.path.join(folder, f"{number}.json")))
                except KeyseatError:
                    continue  # a step that leads nowhere from here
                steps.append(trust)
        return steps

    def _update(self, trust: TrustBundle, data: bytes) -> TrustBundle:
        return trust.update(data, allow_example_keys=self._allow_example_keys)


def _numbers(folder: str) -> list[int]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    stems = [name[:-5] for name in names if name.endswith(".json")]
    return sorted([int(stem) for stem in stems if _is_number(stem)])


def _is_number(stem: str) -> bool:
    """Tell whether a name is a version as this client writes it."""
    return stem.isascii() and stem.isdecimal() and len(stem) <= _DIGITS and stem[0] != "0"


def _holds(path: str, data: bytes) -> bool:
    try:
        return read_file(path) == data
    except KeyseatError:
        return False
