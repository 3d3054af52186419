"""Matching: whether the machine seen now is the one in a licence, by which rule, and what differs.

The rules of docs/spec/machine-id.md, section 9, stand here and nowhere else. What is enrolled but not seen now is
*unreadable*, which is not *changed*: an ordinary user sees less than the administrator.

The customer sends the ID, and could make one from parts of several machines. So a set of adapters or disks counts as
the same only where most of it is, and a machine only where most of its enrolled evidence is. Two machines that share
nothing can then never both match one ID (ADR 0023).
"""

from typing import NamedTuple

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import CouldNotVerifyError, MachineError
from keyseat_shared.evidence import ComponentState, Evidence, Verdict
from keyseat_shared.grades import LABELS
from keyseat_shared.machine_id import MachineID

_FIRMWARE = (Evidence.FIRMWARE_UUID, Evidence.FIRMWARE_SERIAL)
_HARDWARE = (*_FIRMWARE, Evidence.NIC, Evidence.DISK, Evidence.OS)
_MACHINE = (*_HARDWARE, Evidence.INSTANCE)
_USER = (Evidence.USER_ID, Evidence.USER_NAME)

_SAME, _HALF, _CHANGED = ComponentState.SAME, ComponentState.HALF, ComponentState.CHANGED
_UNREADABLE = ComponentState.UNREADABLE
_ENROLLED = (_SAME, _HALF, _CHANGED, _UNREADABLE)

# Firmware weighs a little more: of an even number of kinds, the half with more of it is the greater one. Even numbers,
# since half of a kind counts half.
_WEIGHTS = dict.fromkeys(_FIRMWARE, 10) | dict.fromkeys((Evidence.NIC, Evidence.DISK, Evidence.OS), 8)


class Component(NamedTuple):
    """One kind of evidence, what became of it, and how many of the enrolled items of it are seen now."""

    kind: Evidence
    state: ComponentState
    seen: int
    enrolled: int


class MatchResult(NamedTuple):
    """The verdict of a comparison, the sentence of the rule that decided, and every component's state."""

    verdict: Verdict
    rule: str
    components: tuple[Component, ...]

    def kinds(self, state: ComponentState) -> tuple[Evidence, ...]:
        """Return the kinds in this state."""
        return tuple(component.kind for component in self.components if component.state is state)


def match(enrolled: MachineID, probed: MachineID) -> MatchResult:
    """Compare the machine ID of a licence with the one probed now: hardware first, then the user account."""
    components = tuple(_component(enrolled, probed, kind) for kind in Evidence)
    states = {component.kind: component.state for component in components}
    verdict, rule = _hardware(states)
    if verdict is Verdict.SAME:
        verdict, rule = _user(states, rule)
    return MatchResult(verdict, rule, components)


def _component(enrolled: MachineID, probed: MachineID, kind: Evidence) -> Component:
    # All that is seen now, and not only the few that an ID has a place for: a new card must not push others out.
    before, now = enrolled.tags_of(kind), probed.seen_of(kind)
    seen = len(set(before) & set(now))
    readable = bool(now) and (seen > 0 or kind not in probed.uncertain)
    return Component(kind, _state(len(before), seen, readable=readable), seen, len(before))


def _state(enrolled: int, seen: int, *, readable: bool) -> ComponentState:
    if not enrolled:
        return ComponentState.NEW if readable else ComponentState.NOT_ENROLLED
    if not readable:
        return _UNREADABLE
    if 2 * seen == enrolled:
        return _HALF
    return _SAME if 2 * seen > enrolled else _CHANGED


def _hardware(states: dict[Evidence, ComponentState]) -> tuple[Verdict, str]:
    rule = _rule_that_holds(states)
    if rule:
        return Verdict.SAME, rule
    firmware = [states[kind] for kind in _FIRMWARE if states[kind] in _ENROLLED]
    readable = [state for state in firmware if state is not _UNREADABLE]
    if readable and _SAME not in readable:
        return Verdict.OTHER_MACHINE, "Every readable firmware item differs."
    if firmware and not readable:
        return Verdict.INDETERMINATE, "Firmware was enrolled but cannot be read now, and the rest does not decide."
    # Would a rule hold if all that cannot be read were unchanged? Then the answer is not yet no.
    at_best = {kind: _SAME if state is _UNREADABLE else state for kind, state in states.items()}
    if _rule_that_holds(at_best):
        return Verdict.INDETERMINATE, "What can be read does not decide, and enrolled items cannot be read now."
    return Verdict.OTHER_MACHINE, "Too few of the enrolled items match."


def _rule_that_holds(states: dict[Evidence, ComponentState]) -> str:
    """Return the sentence of the first rule by which the machine is the same, or nothing."""
    if not _is_most_of_it(states):
        return ""
    enrolled = {kind: state for kind, state in states.items() if kind in _MACHINE and state in _ENROLLED}
    firmware = [enrolled[kind] for kind in _FIRMWARE if kind in enrolled]
    same = [kind for kind in _HARDWARE if states[kind] is _SAME]
    half = [kind for kind in _HARDWARE if states[kind] is _HALF]
    nic, disk, os_id = Evidence.NIC in same, Evidence.DISK in same, Evidence.OS in same
    # (1) Two hardware tags, one of them firmware: chance and a copied disk are both ruled out.
    if _SAME in firmware and len(same) + len(half) > 1:
        return "A firmware item and one more hardware item match."
    # (2) Firmware out of sight (an ordinary user), the rest intact. The id of a system is copied with its image, so it
    # does not vouch for half of the adapters or disks; the other hardware does.
    if _CHANGED not in firmware and ((nic and (disk or os_id)) or ((nic or disk) and half)):
        return "No firmware item differs; a network adapter and the disk or operating system match."
    # (3) Machines whose firmware says nothing: a swapped adapter alone changes nothing.
    if not firmware and disk and os_id:
        return "No firmware was enrolled; disk and operating system match."
    # (4) Too little was enrolled for the rules above to spare any of it (containers, microVMs, a single item).
    if enrolled and all(state is _SAME for state in enrolled.values()):
        return "Everything that was enrolled matches."
    return ""


def _is_most_of_it(states: dict[Evidence, ComponentState]) -> bool:
    """Say whether what is the same outweighs all else that was enrolled of the machine and its system.

    An instance id does not count: a file can be copied to every machine there is.
    """
    enrolled = sum(_WEIGHTS[kind] for kind in _HARDWARE if states[kind] in _ENROLLED)
    same = sum(_WEIGHTS[kind] for kind in _HARDWARE if states[kind] is _SAME)
    half = sum(_WEIGHTS[kind] // 2 for kind in _HARDWARE if states[kind] is _HALF)
    return 2 * (same + half) > enrolled or not enrolled


def _user(states: dict[Evidence, ComponentState], rule: str) -> tuple[Verdict, str]:
    users = [states[kind] for kind in _USER]
    if _SAME in users:
        return Verdict.SAME, rule
    if _CHANGED in users:
        return Verdict.OTHER_USER, "The machine is the same, but the user account is another."
    return Verdict.INDETERMINATE, "The machine is the same, but the user account cannot be compared."


def describe(result: MatchResult) -> str:
    """Return the comparison for people, component by component: the text of the doctor and of every mismatch."""
    lines = [
        f"  {LABELS[component.kind]:<18} {component.state}{_counted(component)}"
        for component in result.components
        if component.state is not ComponentState.NOT_ENROLLED
    ]
    return "\n".join([_HEADLINES[result.verdict], *lines, f"  rule: {result.rule}"])


def _counted(component: Component) -> str:
    if component.enrolled < 2 or component.state is _UNREADABLE:  # noqa: PLR2004 - one needs no count
        return ""
    return f" ({component.seen} of {component.enrolled})"


_HEADLINES = {
    Verdict.SAME: "This is the machine and the user account of the licence.",
    Verdict.OTHER_MACHINE: "This is not the machine of the licence.",
    Verdict.OTHER_USER: "This is the machine of the licence, but another user account.",
    Verdict.INDETERMINATE: "It cannot be told whether this is the machine of the licence.",
}


def advice(result: MatchResult) -> str:
    """Return what the user or Customer Success can do about a comparison."""
    if result.verdict is Verdict.SAME:
        return "Nothing to do."
    if result.verdict is Verdict.OTHER_USER:
        return "Sign in to this machine with the account the licence was issued for, or activate online."
    lost = (*result.kinds(_CHANGED), *result.kinds(_UNREADABLE))
    if Evidence.INSTANCE in lost:
        return (
            "Mount the volume that holds the instance id the licence was issued for (KEYSEAT_INSTANCE_FILE names the"
            " file); if it is mounted, `keyseat machine-id --explain` says why the file is passed over. Or activate"
            " online."
        )
    hardware = [component for component in result.components if component.kind in _HARDWARE]
    known = any(component.seen for component in hardware)
    if result.verdict is Verdict.INDETERMINATE:
        differs = not known and _CHANGED in [component.state for component in hardware]
        what = "All that can be read is another machine's; if this is the right one, run" if differs else "Run"
        return (
            f"{what} as the ID of the licence was made: by the same account, with the same privileges, and inside or"
            " outside the container or sandbox as then; or activate online."
        )
    if known:
        return (
            "If hardware was replaced, send Customer Success this comparison: an offline licence cannot be moved, but"
            " they can help to activate online. On another machine, activate online."
        )
    return "Use the licence on the machine it was issued for, or activate online."


def require_match(enrolled: MachineID, probed: MachineID) -> None:
    """Return if the machine and user seen now are those enrolled.

    Raises:
        MachineError: ``MACHINE_MISMATCH`` or ``USER_MISMATCH``; ``details`` hold ``components``, ``verdict``, ``rule``.
        CouldNotVerifyError: ``MACHINE_INDETERMINATE``, with the same ``details``.
    """
    result = match(enrolled, probed)
    if result.verdict is Verdict.SAME:
        return
    details = {
        "verdict": str(result.verdict),
        "rule": result.rule,
        "components": {str(component.kind): str(component.state) for component in result.components},
    }
    message, next_step = describe(result), advice(result)
    if result.verdict is Verdict.INDETERMINATE:
        raise CouldNotVerifyError(ReasonCode.MACHINE_INDETERMINATE, message, details=details, next_step=next_step)
    other_user = result.verdict is Verdict.OTHER_USER
    code = ReasonCode.USER_MISMATCH if other_user else ReasonCode.MACHINE_MISMATCH
    raise MachineError(code, message, details=details, next_step=next_step)
