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
