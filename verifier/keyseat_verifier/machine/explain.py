"""A probe in words: the explanation by component, and the request file."""

import platform
import sys

from keyseat_shared import __version__
from keyseat_shared.grades import LABELS
from keyseat_shared.machine_id import KINDS
from keyseat_shared.request import PLATFORMS, ComponentNote, MachineRequest
from keyseat_verifier.machine.canonical import text
from keyseat_verifier.machine.findings import REJECTED, Note
from keyseat_verifier.machine.probe import MachineProbe

_MAX_NOTES = 64


def explain(probe: MachineProbe) -> str:
    """Return what the ID rests on, component by component, for people; processor and memory with weight zero."""
    word, signs = probe.environment_signals
    lines = [f"platform: {probe.platform}, environment: {word}" + (f" ({', '.join(signs)})" if signs else "")]
    for kind in KINDS:
        tags = probe.machine_id.tags_of(kind)
        lines.append(f"{LABELS[kind]:<18} {_counted(len(tags))}")
        lines += [
            f"    {note.where}: {note.state}" + (f" ({note.reason})" if note.reason else "")
            for note in probe.components
            if note.kind == kind
        ]
    for label, value in (("processor", _processor(probe)), ("memory", _memory(probe))):
        lines.append(f"{label:<18} weight zero: {value}; it names a class of machines, not one")
    if probe.machine_id.has_hardware:
        lines.append(f"grade: {probe.grade}")
        lines += [f"    {reason}" for reason in probe.machine_id.grade_reasons]
    return "\n".join(lines)


def _counted(count: int) -> str:
    return {0: "no evidence", 1: "in the ID"}.get(count, f"in the ID, {count} of them")


def _processor(probe: MachineProbe) -> str:
    """Return the processor's name, from a direct source where there is one: cpuinfo sleeps for a second."""
    try:
        if probe.platform == "windows":
            values = probe.source.registry(r"HARDWARE\DESCRIPTION\System\CentralProcessor\0")
            return " ".join(values["ProcessorNameString"].split())
        for line in text(probe.source.read_file("/proc/cpuinfo")).splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    except (OSError, KeyError):
        pass
    if not probe.source.is_host:
        return "unknown"
    import cpuinfo  # late: slow, and only for --explain

    return str(cpuinfo.get_cpu_info().get("brand_raw", "unknown"))


def _memory(probe: MachineProbe) -> str:
    if not probe.source.is_host:
        return "unknown"
    import psutil  # late: slow, and only for --explain

    return f"{psutil.virtual_memory().total / 2**30:.0f} GiB"


def to_request(probe: MachineProbe) -> dict[str, object]:
    """Return the request file's content for a probe: no raw serials, addresses, host or user names.

    Raises:
        KeyseatError: ``NO_MACHINE_EVIDENCE`` if there is no ID to request a licence for.
    """
    machine_id = probe.require_id()
    versions = {"keyseat": __version__}
    if probe.source.is_host:
        versions |= {"os": _printable(platform.release()), "python": ".".join(map(str, sys.version_info[:3]))}
    request = MachineRequest(
        machine_id=machine_id,
        platform=probe.platform if probe.platform in PLATFORMS else "other",
        environment=probe.environment,
        versions=versions,
        components=tuple(dict.fromkeys(_told(note) for note in probe.components))[:_MAX_NOTES],
    )
    return request.to_dict()


def _told(note: Note) -> ComponentNote:
    """Return a note without names of VPNs and bridges: they are private, and a host of containers has many."""
    refused_adapter = note.kind == "nic" and note.state == REJECTED
    return ComponentNote(note.kind, "adapter" if refused_adapter else _printable(note.where), note.state, note.reason)


def _printable(value: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in value)[:80]
