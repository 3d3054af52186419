"""The account's own place: a private folder for what counts per account, which no environment variable moves.

It lies in the home that the account database (on Windows: the process token) names. Where that cannot be written - a
container without an entry, a read-only file system - folders in shared places do, if they are this account's alone.
"""

# mypy: disable-error-code="unreachable"
# (checked with --platform win32 too)

import os
import stat
import sys

_PRIVATE = 0o700
_OTHERS_WRITE = 0o022


def account_place() -> str:
    """Return the account's place, made if need be, or "" where this account has none that can be written."""
    for parent, names in candidates():
        place = _usable(parent, names)
        if place:
            return place
    return ""


def candidates() -> "list[tuple[str, tuple[str, ...]]]":
    """Return folders that must be there, each with those that may be made in it; the one to use first.

    Not an argument of anything: programs do not choose. Tests, and the demo in its own processes, replace it.
    """
    if sys.platform == "win32":
        return [(_profile(), ("AppData", "Local", "keyseat"))]
    import pwd  # late: does not exist on Windows

    uid = os.getuid()
    own = f"keyseat-{uid}"
    # /dev/shm is there and writable even in a container whose file system is read-only.
    shared: list[tuple[str, tuple[str, ...]]] = [
        (f"/run/user/{uid}", ("keyseat",)),
        *[(folder, (own,)) for folder in ("/var/tmp", "/dev/shm", "/tmp")],  # noqa: S108 - `_is_ours` sees to it
    ]
    try:
        return [(pwd.getpwuid(uid).pw_dir, (".local", "state", "keyseat")), *shared]
    except KeyError:
        return shared


def _usable(parent: str, names: "tuple[str, ...]") -> str:
    place = os.path.join(parent, *names)
    # A home that the database names and that is not there is not made: it belongs to an account without one.
    if not os.path.isabs(parent) or not os.path.isdir(parent):
        return ""
    if not os.path.isdir(place):
        for count in range(1, len(names) + 1):
            try:
                os.mkdir(os.path.join(parent, *names[:count]), _PRIVATE)
            except FileExistsError:
                continue
            except OSError:
                return ""
    return place if _is_ours(place) else ""


def _is_ours(place: str) -> bool:
    """Tell whether a folder is this account's and only it can write there: in a shared place anybody may make one."""
    if not os.access(place, os.W_OK | os.X_OK):
        return False
    # A link that somebody planted is not followed: what is looked at is what bears the name.
    status = os.lstat(place)
    if os.name == "nt":  # made under the profile, whose access list it has
        return stat.S_ISDIR(status.st_mode)
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid in {os.getuid(), os.geteuid()}
        and not stat.S_IMODE(status.st_mode) & _OTHERS_WRITE
    )


def _profile() -> str:
    """Return the profile folder of the account whose token this process has; ``USERPROFILE`` is never believed."""
    if sys.platform != "win32":
        return ""
    import ctypes  # late: costs 6 ms
    from ctypes import wintypes

    kernel = ctypes.WinDLL("kernel32")
    security = ctypes.WinDLL("advapi32")
    profiles = ctypes.WinDLL("userenv")
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    kernel.CloseHandle.argtypes = [wintypes.HANDLE]
    security.OpenProcessToken.argtypes = [wintypes.HANDLE, wintypes.DWORD, ctypes.POINTER(wintypes.HANDLE)]
    profiles.GetUserProfileDirectoryW.argtypes = [wintypes.HANDLE, wintypes.LPWSTR, ctypes.POINTER(wintypes.DWORD)]
    token = wintypes.HANDLE()
    if not security.OpenProcessToken(kernel.GetCurrentProcess(), 0x0008, ctypes.byref(token)):  # TOKEN_QUERY
        return ""
    try:
        size = wintypes.DWORD(1024)
        folder = ctypes.create_unicode_buffer(size.value)
        if not profiles.GetUserProfileDirectoryW(token, folder, ctypes.byref(size)):
            return ""
        return folder.value
    finally:
        kernel.CloseHandle(token)
