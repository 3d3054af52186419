"""Machine identity: probes of the platforms, instance ids, explanation and comparison."""

from keyseat_verifier.machine.probe import MachineProbe, probe_machine
from keyseat_verifier.machine.source import Source

__all__ = ["MachineProbe", "Source", "probe_machine"]
