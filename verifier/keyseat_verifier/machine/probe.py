"""`probe_machine`: collect the evidence of this machine and user into a machine ID. Nothing runs on import."""

import os
import sys

from keyseat_shared.boundary import guarded
from keyseat_shared.machine_id import MachineID
from keyseat_verifier.machine import canonical
from keyseat_verifier.machine.findings import Findings, Note
from keyseat_verifier.machine.instance import probe_instance
from keyseat_verifier.machine.source import PosixSource, Source

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from collections.abc import Mapping

    from keyseat_shared.evidence import Evidence, Grade


class MachineProbe:
    """What a probe found: the machine ID, and a note on everything looked at (never with the values)."""

    __slots__ = ("_environ", "_source", "components", "machine_id", "platform")

    def __init__(
        self, machine_id: MachineID, components: "tuple[Note, ...]", source: Source, environ: "Mapping[str, str]"
    ) -> None:
        """Keep the parts; ``machine_id`` may lack evidence (`require_id`)."""
        self.machine_id = machine_id
        self.components = components
        self.platform = source.platform
        self._source = source
        self._environ = environ

    @property
    def source(self) -> Source:
        """What the probe read from."""
        return self._source

    @property
    def grade(self) -> "Grade":
        """How firmly the ID binds a licence to this machine."""
        return self.machine_id.grade

    @property
    def evidence(self) -> "tuple[Evidence, ...]":
        """The kinds of evidence found."""
        return self.machine_id.evidence

    @property
    def environment(self) -> str:
        """``ci``, ``container``, ``wsl``, ``vm`` or ``physical``: chooses words only."""
        return self.environment_signals[0]

    @property
    def environment_signals(self) -> "tuple[str, tuple[str, ...]]":
        """The word of `environment`, and the signs that it rests on."""
        from keyseat_verifier.machine.containers import environment_signals  # late: only for words
        from keyseat_verifier.machine.mounts import read_mounts

        return environment_signals(self._source, read_mounts(self._source), self._environ)

    def require_id(self) -> MachineID:
        """Return the machine ID.

        Raises:
            KeyseatError: ``NO_MACHINE_EVIDENCE`` with the options, if nothing here identifies the machine.
        """
        if self.machine_id.is_printable:
            return self.machine_id
        from keyseat_verifier.machine.no_evidence import no_evidence  # late: only on errors

        raise no_evidence(self.machine_id, self.components, self.environment_signals)


def host_source() -> Source:
    """Return the source for the machine this process runs on."""
    if sys.platform == "win32":
        from keyseat_verifier.machine.windows_source import WindowsSource  # late: ctypes, Windows only

        return WindowsSource()
    if sys.platform == "darwin":
        from keyseat_verifier.machine.macos import MacSource  # late: ctypes, macOS only

        return MacSource()
    return PosixSource()


@guarded()
def probe_machine(
    *,
    instance: "str | os.PathLike[str] | None" = None,
    source: "Source | None" = None,
    environ: "Mapping[str, str] | None" = None,
) -> MachineProbe:
    """Read this machine's evidence and this process's user account.

    Args:
        instance: instance file to read, or to make if there is none. Without it the file that
            ``KEYSEAT_INSTANCE_FILE`` names, or ``instance-id`` in ``KEYSEAT_HOME``, is read if it exists.
        source: what to read from; this machine by default.
        environ: environment variables; this process's by default.

    Raises:
        KeyseatError: ``UNREADABLE`` if the file of ``instance`` cannot be made or trusted.
    """
    source = host_source() if source is None else source
    environ = os.environ if environ is None else environ
    findings = Findings()
    if source.platform == "windows":
        from keyseat_verifier.machine.windows import probe_windows  # late: one platform a process

        probe_windows(source, findings)
    elif source.platform == "macos":
        from keyseat_verifier.machine.macos import probe_macos

        probe_macos(source, findings)
    else:
        from keyseat_verifier.machine.linux import probe_linux

        probe_linux(source, findings)
    instance_source = probe_instance(source, findings, environ, None if instance is None else os.fspath(instance))
    _user(source, findings)
    machine_id = MachineID.from_values(
        findings.values,
        instance_source=instance_source,
        beside=findings.beside,
        uncertain=findings.uncertain.union([kind for kind in findings.beside if kind not in findings.values]),
    )
    return MachineProbe(machine_id, tuple(findings.notes), source, environ)


def _user(source: Source, findings: Findings) -> None:
    try:
        account, name = source.account()
    except OSError as error:
        findings.failed("user-id", "account", error)
        return
    findings.take("user-id", "account id", account, canonical.account_id)
    fold_case = source.platform == "windows"
    findings.take("user-name", "account name", name, lambda raw: canonical.account_name(raw, fold_case=fold_case))
