"""Next steps for people who have no command line of the issuer: the services' own tell of its commands."""

from collections.abc import Mapping

from keyseat_shared.codes import NEXT_STEPS, ReasonCode
from keyseat_shared.errors import KeyseatError


def without_commands(error: KeyseatError, steps: Mapping[ReasonCode, str]) -> KeyseatError:
    """Return the error with a next step of ``steps``, or the code's general one, where its own names a command."""
    if "keyseat-issuer" in error.next_step or "--" in error.next_step:
        error.next_step = steps.get(error.code, NEXT_STEPS[error.code])
    return error
