"""Containers, virtual machines, WSL and CI: several signals each. They choose words and the evidence profile.

Detection never makes anything evidence that is none otherwise. Signals that reject evidence (a container's root)
come from files and mounts; environment variables, which anybody can set, only choose words.
"""

from keyseat_verifier.machine.canonical import text
from keyseat_verifier.machine.mounts import Mount
from keyseat_verifier.machine.source import Source

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from collections.abc import Mapping

# Layers of an image, and folders that a host shares into a microVM (Kata, gVisor).
_IMAGE_FILESYSTEMS = ("overlay", "fuse-overlayfs", "fuse.fuse-overlayfs", "aufs", "virtiofs", "9p")
_HEX = frozenset("0123456789abcdef")
_CONTAINER_ID = 64  # hexadecimal digits, in Docker, Podman, containerd and CRI-O alike

# Vendor and product names of DMI, lower case, that hypervisors and clouds give (as systemd-detect-virt(1) knows them).
_VIRTUAL_WORDS = (
    *("qemu", "kvm", "vmware", "virtualbox", "innotek", "xen", "bochs", "parallels", "bhyve", "virtual machine"),
    *("amazon ec2", "google compute engine", "openstack", "digitalocean", "hetzner", "vultr", "alibaba cloud"),
    *("nutanix", "firecracker", "cloud hypervisor", "apple virtualization", "rhev", "ovirt"),
)

_CI_VARIABLES = (
    "CI",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "JENKINS_URL",
    "TF_BUILD",
    "BUILDKITE",
    "CIRCLECI",
    "TEAMCITY_VERSION",
)


def container_signals(source: Source, mounts: "list[Mount]") -> "tuple[str, ...]":
    """Return the signs that the root file system comes from a container image; none means it does not."""
    signals = [path for path in ("/.dockerenv", "/run/.containerenv") if source.exists(path)]
    root = next((mount for mount in reversed(mounts) if mount.point == "/"), None)
    if root is not None and root.filesystem in _IMAGE_FILESYSTEMS and not is_composefs(root):
        signals.append(f"{root.filesystem} root")
    engine = _read(source, "/run/systemd/container") or _from_first_process(source)
    if engine:
        signals.append(f"container={engine}")
    if _is_container_cgroup(_read(source, "/proc/self/cgroup")):
        signals.append("cgroup")
    return tuple(signals)


def is_composefs(root: Mount) -> bool:
    """Say whether a root is the verified, read-only tree of an image-based system (ostree, bootc; Fedora 42, RHEL 10).

    It is an overlay on the machine's own disk. Containers kept that way are told by their other signs.
    """
    return root.filesystem == "overlay" and root.source.startswith("composefs")


def _is_container_cgroup(groups: str) -> bool:
    """Say whether control groups are a container's; a service of the host that is merely called docker is none."""
    for line in groups.splitlines():
        parts = line.split("/")
        for before, part in zip(parts, parts[1:], strict=False):  # noqa: RUF007 - itertools is not loaded here
            tail = part.removesuffix(".scope").rpartition("-")[2].rpartition(":")[2]
            if len(tail) == _CONTAINER_ID and _HEX.issuperset(tail):
                return True
            if before == "lxc" or part.startswith(("kubepods", "lxc.payload")):
                return True
    return False


def _read(source: Source, path: str) -> str:
    try:
        return text(source.read_file(path, 4096))
    except OSError:
        return ""


def _from_first_process(source: Source) -> str:
    """Return ``container=`` from the environment of process 1 (systemd's container interface)."""
    try:
        environment = source.read_file("/proc/1/environ", 16384)
    except OSError:
        return ""
    for entry in environment.split(b"\0"):
        if entry.startswith(b"container="):
            return text(entry[10:])[:40]
    return ""


def is_wsl(source: Source) -> bool:
    """Return whether this is the Windows Subsystem for Linux."""
    return "microsoft" in _read(source, "/proc/sys/kernel/osrelease").lower()


def environment_signals(
    source: Source, mounts: "list[Mount]", environ: "Mapping[str, str]"
) -> "tuple[str, tuple[str, ...]]":
    """Return the word for where this runs (``ci``, ``container``, ``wsl``, ``vm``, ``physical``) and its signs."""
    signals: dict[str, list[str]] = {"ci": [name for name in _CI_VARIABLES if environ.get(name)]}
    if source.platform == "linux":
        signals["container"] = [*container_signals(source, mounts)]
        if environ.get("KUBERNETES_SERVICE_HOST"):
            signals["container"].append("KUBERNETES_SERVICE_HOST")
        signals["wsl"] = ["kernel release"] if is_wsl(source) else []
    signals["vm"] = _virtual_machine(source)
    for word in ("ci", "container", "wsl", "vm"):
        if signals.get(word):
            return word, tuple(sign for found in signals.values() for sign in found)
    return "physical", ()


def _virtual_machine(source: Source) -> "list[str]":
    if source.platform == "windows":
        return _windows_virtual_machine(source)
    named = " ".join([_read(source, f"/sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name")]).lower()
    found = [f"DMI {word}" for word in _VIRTUAL_WORDS if _names(named, word)][:1]
    if _read(source, "/sys/hypervisor/type"):
        found.append("/sys/hypervisor")
    # The processor itself tells guests that there is a hypervisor (CPUID leaf 1, ECX bit 31).
    if not found and " hypervisor" in _read(source, "/proc/cpuinfo"):
        found.append("processor flag")
    return found


def _windows_virtual_machine(source: Source) -> "list[str]":
    try:
        values = source.registry(r"HARDWARE\DESCRIPTION\System\BIOS")
    except OSError:
        return []
    named = " ".join([values.get(name, "") for name in ("SystemManufacturer", "SystemProductName")]).lower()
    return [f"BIOS {word}" for word in _VIRTUAL_WORDS if _names(named, word)][:1]


def _names(named: str, word: str) -> bool:
    """Say whether a word stands in a name by itself, and not within a longer one (XENIA, P9XXEN)."""
    start = named.find(word)
    while start >= 0:
        before, after = named[start - 1 : start] if start else "", named[start + len(word) : start + len(word) + 1]
        if not before.isalpha() and not after.isalpha():
            return True
        start = named.find(word, start + 1)
    return False
