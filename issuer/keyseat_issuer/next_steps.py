"""Next steps for people who have no command line of the issuer: the services' own tell of its commands."""

from collections.abc import Mapping

from keyseat_shared.codes import NEXT_STEPS, ReasonCode
from keyseat_shared.errors import KeyseatError

OPERATORS = frozenset(
    {
        ReasonCode.CLOCK_ROLLED_BACK,
        ReasonCode.CLOCK_AHEAD,
        ReasonCode.LEDGER_UNAVAILABLE,
        ReasonCode.AUDIT_BROKEN,
        ReasonCode.KEY_UNAVAILABLE,
        ReasonCode.TRUST_INVALID,
        ReasonCode.TRUST_ROLLBACK,
    }
)
"""What only who runs the server can mend."""


def without_commands(error: KeyseatError, steps: Mapping[ReasonCode, str]) -> KeyseatError:
    """Return the error with a next step of ``steps``, or the code's general one, where its own names a command."""
    if "keyseat-issuer" in error.next_step or "--" in error.next_step:
        error.next_step = steps.get(error.code, NEXT_STEPS[error.code])
    return error


def for_people(error: KeyseatError, steps: Mapping[ReasonCode, str]) -> KeyseatError:
    """Return the error as pages tell it: as ``without_commands``, and nobody is sent to a server that is not theirs."""
    if error.code in OPERATORS:
        error.next_step = (
            "Try again in some minutes. If it stays so, tell whoever runs this server: only they can help."
        )
        return error
    return without_commands(error, steps)
