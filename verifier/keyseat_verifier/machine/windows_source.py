"""The real Windows machine: registry, firmware table, device queries and the process token, through ctypes.

Every handle is opened with no access rights at all, which is enough for these queries and needs no administrator.
"""

# mypy: disable-error-code="unreachable"
# (checked with --platform win32; on other platforms all but the first line of each method is out of reach)

import os
import sys

from keyseat_verifier.machine.source import LIMIT, Source

_RSMB = 0x52534D42
_TOKEN_QUERY, _TOKEN_USER = 0x0008, 1
_SHARE_ALL, _OPEN_EXISTING = 7, 3
_NDIS_QUERY_GLOBAL_STATS, _PERMANENT_ADDRESS = 0x00170002, 0x01010101
_GET_VOLUME_DISK_EXTENTS, _STORAGE_QUERY_PROPERTY = 0x00560000, 0x002D1400
_EXTENTS_AT, _EXTENT_SIZE = 8, 24
_MAX_KEYS = 512


class WindowsSource(Source):
    """Reads the machine this process runs on; works on Windows only."""

    platform = "windows"
    is_host = True

    def read_file(self, path: str, limit: int = LIMIT) -> bytes:
        """Return at most ``limit`` bytes of a file."""
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            return os.read(descriptor, limit)
        finally:
            os.close(descriptor)

    def listdir(self, path: str) -> "list[str]":
        """Return the sorted names in a directory."""
        return sorted(os.listdir(path))

    def exists(self, path: str) -> bool:
        """Return whether a path exists."""
        return os.access(path, os.F_OK)

    def registry(self, key: str) -> "dict[str, str]":
        """Return the text values of a key under HKEY_LOCAL_MACHINE, as 64-bit programs see it."""
        if sys.platform != "win32":
            raise FileNotFoundError(key)
        import winreg  # late: Windows only

        values = {}
        with winreg.OpenKeyEx(winreg.HKEY_LOCAL_MACHINE, key, 0, winreg.KEY_READ | winreg.KEY_WOW64_64KEY) as handle:
            for index in range(min(winreg.QueryInfoKey(handle)[1], _MAX_KEYS)):
                name, value, _kind = winreg.EnumValue(handle, index)
                if type(value) is str:
                    values[name] = value
        return values

    def registry_keys(self, key: str) -> "list[str]":
        """Return the sorted names of the keys under a key."""
        if sys.platform != "win32":
            raise FileNotFoundError(key)
        import winreg  # late: Windows only

        with winreg.OpenKeyEx(winreg.HKEY_LOCAL_MACHINE, key, 0, winreg.KEY_READ | winreg.KEY_WOW64_64KEY) as handle:
            count = min(winreg.QueryInfoKey(handle)[0], _MAX_KEYS)
            return sorted([winreg.EnumKey(handle, index) for index in range(count)])

    def firmware_table(self) -> bytes:
        """Return ``RawSMBIOSData``."""
        if sys.platform != "win32":
            raise FileNotFoundError
        import ctypes  # late: costs 6 ms
        from ctypes import wintypes

        ask = ctypes.WinDLL("kernel32", use_last_error=True).GetSystemFirmwareTable
        ask.argtypes = [wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD]
        ask.restype = wintypes.UINT
        size = ask(_RSMB, 0, None, 0)
        buffer = ctypes.create_string_buffer(size)
        if not size or ask(_RSMB, 0, buffer, size) > size:
            raise ctypes.WinError(ctypes.get_last_error())
        return buffer.raw

    def permanent_mac(self, interface: str) -> str:
        """Ask the driver for the permanent address (``OID_802_3_PERMANENT_ADDRESS``)."""
        request = _PERMANENT_ADDRESS.to_bytes(4, "little")
        return _query(rf"\\.\{interface}", _NDIS_QUERY_GLOBAL_STATS, request, 32)[:6].hex()

    def system_disks(self) -> "list[bytes]":
        """Return the ``STORAGE_DEVICE_DESCRIPTOR`` of each disk under the system volume."""
        drive = _system_drive()
        extents = _query(rf"\\.\{drive}", _GET_VOLUME_DISK_EXTENTS, b"", 1024)
        count = int.from_bytes(extents[:4], "little")
        starts = [_EXTENTS_AT + _EXTENT_SIZE * index for index in range(min(count, 32))]
        numbers = sorted({int.from_bytes(extents[start : start + 4], "little") for start in starts})
        # STORAGE_PROPERTY_QUERY { StorageDeviceProperty = 0, PropertyStandardQuery = 0, one byte and padding }
        return [_query(rf"\\.\PhysicalDrive{number}", _STORAGE_QUERY_PROPERTY, bytes(12), 4096) for number in numbers]

    def account(self) -> "tuple[str, str]":
        """Return SID and name of the process token's user; ``USERNAME`` is never believed."""
        if sys.platform != "win32":
            raise FileNotFoundError
        import ctypes  # late: costs 6 ms
        from ctypes import wintypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        security = ctypes.WinDLL("advapi32", use_last_error=True)
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        kernel.CloseHandle.argtypes = [wintypes.HANDLE]
        kernel.LocalFree.argtypes = [ctypes.c_void_p]
        security.OpenProcessToken.argtypes = [wintypes.HANDLE, wintypes.DWORD, ctypes.POINTER(wintypes.HANDLE)]
        security.GetTokenInformation.argtypes = [
            *(wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD, ctypes.POINTER(wintypes.DWORD))
        ]
        security.ConvertSidToStringSidW.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]
        security.LookupAccountSidW.argtypes = [
            *(wintypes.LPCWSTR, ctypes.c_void_p, wintypes.LPWSTR, ctypes.POINTER(wintypes.DWORD)),
            *(wintypes.LPWSTR, ctypes.POINTER(wintypes.DWORD), ctypes.POINTER(wintypes.DWORD)),
        ]
        token = wintypes.HANDLE()
        if not security.OpenProcessToken(kernel.GetCurrentProcess(), _TOKEN_QUERY, ctypes.byref(token)):
            raise ctypes.WinError(ctypes.get_last_error())
        try:
            buffer = ctypes.create_string_buffer(1024)
            size = wintypes.DWORD()
            if not security.GetTokenInformation(token, _TOKEN_USER, buffer, len(buffer), ctypes.byref(size)):
                raise ctypes.WinError(ctypes.get_last_error())
        finally:
            kernel.CloseHandle(token)
        sid = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_void_p)).contents  # TOKEN_USER begins with the SID's address
        written = ctypes.c_void_p()
        if not security.ConvertSidToStringSidW(sid, ctypes.byref(written)):
            raise ctypes.WinError(ctypes.get_last_error())
        text = ctypes.wstring_at(written.value or 0)
        kernel.LocalFree(written)
        name, domain = ctypes.create_unicode_buffer(257), ctypes.create_unicode_buffer(257)
        name_size, domain_size, use = wintypes.DWORD(257), wintypes.DWORD(257), wintypes.DWORD()
        known = security.LookupAccountSidW(
            *(None, sid, name, ctypes.byref(name_size), domain, ctypes.byref(domain_size), ctypes.byref(use))
        )
        return text, name.value if known else ""


def _system_drive() -> str:
    """Return the drive of the Windows folder, as the system says: ``SystemDrive`` could be set by anybody."""
    if sys.platform != "win32":
        raise FileNotFoundError
    import ctypes  # late: costs 6 ms

    folder = ctypes.create_unicode_buffer(260)
    if not ctypes.WinDLL("kernel32").GetSystemWindowsDirectoryW(folder, 260):
        raise FileNotFoundError
    return folder.value[:2]


def _query(device: str, control: int, request: bytes, size: int) -> bytes:
    """Ask a device something (``DeviceIoControl``)."""
    if sys.platform != "win32":
        raise FileNotFoundError(device)
    import ctypes  # late: costs 6 ms
    from ctypes import wintypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.CreateFileW.restype = wintypes.HANDLE
    kernel.CreateFileW.argtypes = [
        *(wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p),
        *(wintypes.DWORD, wintypes.DWORD, wintypes.HANDLE),
    ]
    kernel.DeviceIoControl.argtypes = [
        *(wintypes.HANDLE, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD),
        *(ctypes.POINTER(wintypes.DWORD), ctypes.c_void_p),
    ]
    kernel.CloseHandle.argtypes = [wintypes.HANDLE]
    handle = kernel.CreateFileW(device, 0, _SHARE_ALL, None, _OPEN_EXISTING, 0, None)
    if handle == wintypes.HANDLE(-1).value:
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        answer = ctypes.create_string_buffer(size)
        got = wintypes.DWORD()
        sent = ctypes.create_string_buffer(request, len(request)) if request else None
        if not kernel.DeviceIoControl(handle, control, sent, len(request), answer, size, ctypes.byref(got), None):
            raise ctypes.WinError(ctypes.get_last_error())
        return answer.raw[: got.value]
    finally:
        kernel.CloseHandle(handle)
