"""A face's table of next steps: what to advise its readers about a refusal of the services."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keyseat_issuer.causes import Cause, DiscreetError
from keyseat_shared.codes import NEXT_STEPS, ReasonCode
from keyseat_shared.errors import KeyseatError


@dataclass(frozen=True, slots=True)
class NextSteps:
    """The words of one face. Texts may hold facts, ``{name}``, from an error's details.

    Attributes:
        by_code: for every reason code.
        by_cause: for every cause that this face can show.
        only_ours: codes about which the readers can do nothing: their words stand whatever a service advises.
        quote: how a fact is written into a text; a command line quotes blanks.
        is_vendors: whether the readers are the vendor's own people, who may hear what customers must not.
    """

    by_code: Mapping[ReasonCode, str]
    by_cause: Mapping[Cause, str]
    only_ours: frozenset[ReasonCode] = frozenset()
    quote: Callable[[str], str] = str
    is_vendors: bool = False

    def of(self, error: KeyseatError) -> str:
        """Return what to do next about the error."""
        step = self.by_cause.get(Cause(error.cause)) if error.cause else None
        if step is not None:
            return self._filled(step, self._facts(error))
        if error.code in self.only_ours or error.next_step == NEXT_STEPS[error.code]:
            return self._filled(self.by_code[error.code], error.details)
        return error.next_step

    def _facts(self, error: KeyseatError) -> Mapping[str, object]:
        return error.details | error.facts if self.is_vendors and isinstance(error, DiscreetError) else error.details

    def _filled(self, step: str, details: Mapping[str, object]) -> str:
        return step.format_map(_Facts({name: self._written(value) for name, value in details.items()}))

    def _written(self, value: object) -> object:
        return _Words([self.quote(str(entry)) for entry in value]) if type(value) is list else self.quote(str(value))


class _Facts(dict[str, object]):
    """Facts by name; one that is not known is shown as a usage line would: ``email`` as ``EMAIL``."""

    def __missing__(self, name: str) -> object:
        return _Placeholder(name.upper())


class _Placeholder(str):
    """What stands for a fact, or for each of several, that nobody knows."""

    __slots__ = ()

    def __getitem__(self, _index: object) -> str:
        return self

    def __format__(self, _spec: str) -> str:
        return str(self)


class _Words(list[str]):
    """Several facts of one kind, written one after the other: as arguments, or with ``{name:, }`` as an enumeration."""

    def __format__(self, spec: str) -> str:
        return (spec or " ").join(self)


UNATTENDED = frozenset(
    {
        ReasonCode.CLOCK_ROLLED_BACK,
        ReasonCode.CLOCK_AHEAD,
        ReasonCode.LEDGER_UNAVAILABLE,
        ReasonCode.AUDIT_BROKEN,
        ReasonCode.KEY_UNAVAILABLE,
        ReasonCode.ALGORITHM_UNAVAILABLE,
        ReasonCode.EXAMPLE_KEY,
        ReasonCode.TRUST_INVALID,
        ReasonCode.TRUST_STALE,
        ReasonCode.UNREADABLE,
    }
)
"""What only who runs the server can mend: readers of the API and of the pages are not sent to a server of others."""

_LATER = "Try again in some minutes. If it stays so, tell whoever runs this server: only they can help."
_AGAIN = "Do it again: rules or keys were changed at the same time."

EVERYBODYS = {
    Cause.OVERLOADED: "Try again in a few seconds.",
    Cause.SEATS_HELD: "Try again in a minute. If it stays: somebody's command or server stands still in the middle of"
    " an act.",
}
"""Causes with the same words for every reader; the words of their code would be wrong for them."""

CUSTOMERS_BY_CODE = {
    **NEXT_STEPS,
    **dict.fromkeys(UNATTENDED, _LATER),
    ReasonCode.TRUST_ROLLBACK: _AGAIN,
}
"""The codes' words that the API and the pages share; each adds its own."""

CUSTOMERS_BY_CAUSE = EVERYBODYS | {
    Cause.ACCOUNT_SHUT_OFF: "Ask whoever runs this server to let it sign in again.",
    Cause.ACCOUNT_UNKNOWN: "Check the address.",
    Cause.ADDRESS_CLAIMED: NEXT_STEPS[ReasonCode.ADDRESS_UNPROVEN],
    Cause.BUNDLE_CHANGED_MEANWHILE: _AGAIN,
    Cause.BUNDLE_STALE: _LATER,
    Cause.ENDS_NOT_WHOLE_YEARS: "Choose {ends[0]} or {ends[1]}.",
    Cause.ENDS_TOO_LATE: "Choose {ends} at the latest.",
    Cause.FILE_EXISTS: "Choose another name.",
    Cause.ISSUER_MISSING: _LATER,
    Cause.LAST_OWNER: "Make somebody else an owner first.",
    Cause.LEDGER_NOT_MIGRATED: _LATER,
    Cause.LEDGER_TIME_OR_CLOCK: _LATER,
    Cause.MACHINE_BOUND: "Download the file of that licence again.",
    Cause.MEMBERS_UNKNOWN: "Invite the person first.",
    Cause.MEMBER_UNKNOWN: "Invite the person first.",
    Cause.OFFLINE_ISSUED_ELSEWHERE: "Ask your vendor's Customer Success team: they issue offline licences.",
    Cause.SIGNED_BUT_UNVERIFIABLE: _LATER,
}
"""The causes' words that the API and the pages share; each adds its own."""
