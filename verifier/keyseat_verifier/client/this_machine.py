"""The machine a client asks for: the one its program names, or this one, probed once for each account."""

import os

from keyseat_shared.errors import VerificationError
from keyseat_verifier.machine import probe_machine
from keyseat_verifier.verify.verifier import Machine, Verifier


class ThisMachine:
    """Gives the machine; probes when first asked."""

    __slots__ = ("_given", "_home", "_probed")

    def __init__(self, given: "Machine | None", home: str) -> None:
        """Keep what the program names, if it does, and the home folder, which may hold an instance id."""
        self._given = given
        self._home = home
        self._probed: tuple[int, Machine] | None = None

    def machine(self) -> Machine:
        """Return the machine."""
        if self._given is not None:
            return self._given
        user = account()
        if self._probed is None or self._probed[0] != user:  # the account is part of the machine ID
            instance = os.path.join(self._home, "instance-id")
            environ = {**os.environ, "KEYSEAT_HOME": self._home} if os.path.exists(instance) else None
            self._probed = (user, probe_machine(environ=environ))
        return self._probed[1]

    def text(self, verifier: Verifier) -> str | None:
        """Return the machine ID, or ``None`` where nothing identifies the machine."""
        try:
            return verifier.known_machine(self.machine())[0] or None
        except VerificationError:
            return None


def account() -> int:
    """Return the account that runs this process, as far as the platform numbers them."""
    return os.getuid() if hasattr(os, "getuid") else 0
