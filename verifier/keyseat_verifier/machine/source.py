"""What the probes read of a machine, behind one small interface, so that every platform is tested from recordings.

Nothing here interprets a value. Nothing is read before a method is called. All reads are bounded.
"""

import os
import sys

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT = 65536
"""Most bytes read of a file, unless told otherwise."""
_POINTER_SIZE = 8 if sys.maxsize > 2**32 else 4


class Source:
    """A machine as the probes see it. Methods raise ``OSError`` for what is absent or may not be read.

    ``FileNotFoundError`` means absent, ``PermissionError`` unreadable without more privileges.
    """

    platform: str = "unknown"
    """``linux``, ``windows`` or ``macos``."""

    is_host: bool = False
    """Whether this is the machine the process runs on, and not a recording."""

    def read_file(self, path: str, limit: int = LIMIT) -> bytes:  # noqa: ARG002 - the interface
        """Return at most ``limit`` bytes of a file."""
        raise FileNotFoundError(path)

    def listdir(self, path: str) -> "list[str]":
        """Return the sorted names in a directory."""
        raise FileNotFoundError(path)

    def readlink(self, path: str) -> str:
        """Return the target of a symbolic link."""
        raise FileNotFoundError(path)

    def exists(self, path: str) -> bool:
        """Return whether a path exists."""
        raise NotImplementedError

    def permanent_mac(self, interface: str) -> str:
        """Return the address burnt into an adapter, as hexadecimal digits."""
        raise FileNotFoundError(interface)

    def account(self) -> "tuple[str, str]":
        """Return the stable id and the name of the account this process really runs as; the name may be empty."""
        raise FileNotFoundError

    def run(self, argv: "Sequence[str]", limit_seconds: float = 5.0) -> bytes:  # noqa: ARG002 - the interface
        """Return the output of a tool given by absolute path; ``OSError`` if it is missing, fails or is too slow."""
        raise FileNotFoundError(argv[0])

    def registry(self, key: str) -> "dict[str, str]":
        """Return the text values of a key under HKEY_LOCAL_MACHINE (64-bit view)."""
        raise FileNotFoundError(key)

    def registry_keys(self, key: str) -> "list[str]":
        """Return the sorted names of the keys under a key."""
        raise FileNotFoundError(key)

    def firmware_table(self) -> bytes:
        """Return the raw SMBIOS table with the 8-byte header of Windows' ``RawSMBIOSData``."""
        raise FileNotFoundError

    def system_disks(self) -> "list[bytes]":
        """Return the ``STORAGE_DEVICE_DESCRIPTOR`` of each disk that holds the system volume (Windows)."""
        raise FileNotFoundError


class PosixSource(Source):
    """The real machine on Linux and other POSIX systems."""

    # Of the class, so that `MacSource` says what it is wherever it is made.
    is_host = True
    platform = {"darwin": "macos"}.get(sys.platform, sys.platform)

    def read_file(self, path: str, limit: int = LIMIT) -> bytes:
        """Return at most ``limit`` bytes; plain descriptors, because sysfs files are short and `open` is slow."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            content = part = os.read(descriptor, min(limit, LIMIT))
            # The kernel gives tables of /proc a page at a time, however much is asked for (seq_file).
            while part and len(content) < limit:
                part = os.read(descriptor, min(limit - len(content), LIMIT))
                content += part
            return content
        finally:
            os.close(descriptor)

    def listdir(self, path: str) -> "list[str]":
        """Return the sorted names in a directory."""
        return sorted(os.listdir(path))

    def readlink(self, path: str) -> str:
        """Return the target of a symbolic link."""
        return os.readlink(path)

    def exists(self, path: str) -> bool:
        """Return whether a path exists."""
        return os.access(path, os.F_OK)

    def permanent_mac(self, interface: str) -> str:
        """Ask the driver for the permanent address (ethtool(8), ``ETHTOOL_GPERMADDR``); needs no privileges."""
        import array  # late: only Linux with a physical adapter needs these
        import fcntl
        from socket import AF_INET, SOCK_DGRAM, socket  # late: costly, and rarely needed

        # struct ethtool_perm_addr { __u32 cmd; __u32 size; __u8 data[]; } with room for 32 bytes of address
        request = array.array("B", (0x20).to_bytes(4, sys.byteorder) + (32).to_bytes(4, sys.byteorder) + bytes(32))
        address = request.buffer_info()[0]
        ifreq = interface.encode()[:15].ljust(16, b"\0") + address.to_bytes(8, sys.byteorder)[:_POINTER_SIZE]
        handle = socket(AF_INET, SOCK_DGRAM)
        try:
            fcntl.ioctl(handle.fileno(), 0x8946, ifreq.ljust(40, b"\0"))  # SIOCETHTOOL
        finally:
            handle.close()
        answer = request.tobytes()
        return answer[8 : 8 + int.from_bytes(answer[4:8], sys.byteorder)].hex()

    def account(self) -> "tuple[str, str]":
        """Return the real uid and its name in the account database; ``LOGNAME`` and ``USER`` are never believed."""
        import pwd  # late: does not exist on Windows

        uid = os.getuid()
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid), ""
        # Back to the bytes of the database: what Python made of them depends on the locale.
        return str(uid), os.fsencode(name).decode("utf-8", "backslashreplace")

    def run(self, argv: "Sequence[str]", limit_seconds: float = 5.0) -> bytes:
        """Run a tool without a shell, with a fixed environment and a time-out."""
        import subprocess  # late: only macOS runs tools

        try:
            done = subprocess.run(  # noqa: S603 - absolute path, fixed arguments, no shell
                list(argv),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=limit_seconds,
                check=True,
                env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"},
            )
        except subprocess.SubprocessError:
            raise OSError(f"{argv[0]} failed or took too long") from None
        return done.stdout
