"""The mount table of this process (proc_pid_mountinfo(5))."""

from keyseat_verifier.machine.source import Source

_LIMIT = 1 << 20  # a host of containers has some hundred bytes for each layer of each of them


class Mount:
    """One line: device number ``major:minor``, mount point, options of this mount, file system type, source."""

    __slots__ = ("device", "filesystem", "options", "point", "source")

    def __init__(self, device: str, point: str, options: str, filesystem: str, source: str) -> None:
        """Keep the parts; octal escapes in ``point`` are undone."""
        self.device = device
        self.point = point
        self.options = options.split(",")
        self.filesystem = filesystem
        self.source = source


def read_mounts(source: Source) -> "list[Mount]":
    """Return the mounts, oldest first; nothing where the table cannot be read."""
    try:
        table = source.read_file("/proc/self/mountinfo", _LIMIT).decode("utf-8", "replace")
    except OSError:
        return []
    mounts = []
    for line in table.split("\n"):  # `splitlines` knows other ends of lines, which may stand in a path
        left, dash, right = line.partition(" - ")
        first, second = left.split(" "), right.split(" ")
        if dash and len(first) >= 6 and len(second) >= 2:  # noqa: PLR2004 - fields of the format
            mounts.append(Mount(first[2], _unescape(first[4]), first[5], second[0], second[1]))
    return mounts


def _unescape(point: str) -> str:
    if "\\" not in point:
        return point
    for octal, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(octal, char)
    return point


def mount_of(mounts: "list[Mount]", path: str) -> "Mount | None":
    """Return the mount that holds an absolute, normalised path."""
    best: Mount | None = None
    for mount in mounts:
        inside = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best
