"""Which server to ask, and with what: ``server.json`` in the home folder, overridden by the environment.

Keys of ``server.json``: ``url``, and if wanted ``organization``, ``api_key_file``, ``ca_bundle``. Variables:
``KEYSEAT_SERVER``, ``KEYSEAT_ORGANIZATION``, ``KEYSEAT_API_KEY_FILE``, ``KEYSEAT_API_KEY``, ``KEYSEAT_CA_BUNDLE``.
"""

import ipaddress
import os
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from keyseat_shared import fields
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, MalformedError
from keyseat_shared.files import read_file
from keyseat_shared.strictjson import dumps_compact, loads_object, require_keys
from keyseat_verifier._internal.paths import SERVER, shown, write_private

_KEYS = frozenset({"url"})
_OPTIONAL = frozenset({"organization", "api_key_file", "ca_bundle"})
_MAX_KEY = 512


class ServerConfig(NamedTuple):
    """The server's address (no slash at its end), and how to reach it. Holds no secret."""

    url: str
    organization: str | None = None
    api_key_file: str | None = None
    ca_bundle: str | None = None


def load_config(home: str, environ: Mapping[str, str]) -> ServerConfig | None:
    """Return what is configured, or ``None`` where no server is named anywhere.

    Raises:
        KeyseatError: ``INVALID_INPUT`` or ``UNREADABLE`` that says which setting is wrong.
    """
    kept = _read(os.path.join(home, SERVER))
    named = environ.get("KEYSEAT_SERVER")
    if not named and kept is None:
        return None
    url = check_url(named) if named else (kept or {})["url"]
    # A key or organisation kept for one server is not sent to another.
    found = kept if kept is not None and kept["url"] == url else {}
    return ServerConfig(
        url,
        _organization(environ.get("KEYSEAT_ORGANIZATION")) or found.get("organization"),
        environ.get("KEYSEAT_API_KEY_FILE") or found.get("api_key_file"),
        environ.get("KEYSEAT_CA_BUNDLE") or found.get("ca_bundle"),
    )


def _organization(typed: str | None) -> str | None:
    if not typed:
        return None
    try:
        return fields.uuid(typed.strip().lower(), "organization")
    except MalformedError:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"{typed[:80]!a} is not the id of an organisation (KEYSEAT_ORGANIZATION or --organization)",
            next_step="Write its id, a UUID. Leave it out to see yours: who belongs to several is told their ids.",
        ) from None


def save_server(home: str, url: str) -> str:
    """Keep the server's address in the home folder, if none is kept there; return the file's path.

    Raises:
        KeyseatError: ``UNREADABLE`` where it cannot be written.
    """
    path = os.path.join(home, SERVER)
    kept = _read(path)
    if kept is None or kept["url"] != url:
        try:
            write_private(path, dumps_compact({"url": url}) + b"\n")
        except OSError as error:
            raise KeyseatError(
                ReasonCode.UNREADABLE,
                f"{shown(path)} cannot be written: {(error.strerror or 'unknown reason').lower()}",
                next_step="Make the home folder writable, or set KEYSEAT_SERVER instead.",
            ) from None
    return path


def api_key(config: ServerConfig, environ: Mapping[str, str]) -> str | None:
    """Return the API key that is configured, or ``None``; a variable with the key goes before the file.

    Raises:
        KeyseatError: ``UNREADABLE`` or ``INVALID_INPUT``; the key itself is never shown.
    """
    typed = environ.get("KEYSEAT_API_KEY")
    if typed:
        return _plain(typed, "KEYSEAT_API_KEY")
    if config.api_key_file is None:
        return None
    try:
        data = read_file(config.api_key_file)
    except KeyseatError as error:
        raise KeyseatError(
            ReasonCode.UNREADABLE,
            f"the API key file cannot be used: {error.message}",
            next_step="Name the file that holds the API key in KEYSEAT_API_KEY_FILE, or set KEYSEAT_API_KEY.",
        ) from None
    return _plain(data.decode("ascii", "replace"), shown(config.api_key_file))


def _plain(text: str, where: str) -> str:
    key = text.strip()
    if not key.startswith("ksk_") or not key.isascii() or not key.isprintable() or " " in key or len(key) > _MAX_KEY:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"{where} does not hold an API key (it starts with ksk_ and is one word)",
            next_step="Copy the whole key as it was shown when it was made, or have a new one made.",
        )
    return key


def check_url(text: str) -> str:
    """Return a server's address without a slash at its end.

    Raises:
        KeyseatError: ``INVALID_INPUT``: only ``https`` is allowed, and ``http`` to this very machine.
    """
    typed = text.strip()
    try:
        # Before it is taken apart: `urlsplit` drops line breaks and tabs without a word.
        usable = is_one_word(typed) and _is_usable(urlsplit(typed))
    except ValueError:
        usable = False
    if not usable:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"{text[:120]!a} is not the address of a server",
            next_step="Give an address such as https://licenses.example.com; plain http is for this machine only.",
        )
    return typed.rstrip("/")


def is_one_word(text: str) -> bool:
    """Tell whether a text is printable ASCII without spaces, as every address is."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _is_usable(parts: SplitResult) -> bool:
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    named = bool(parts.hostname) and parts.port != 0
    # Tokens must not cross a network in clear text.
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    return plain and named and safe


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine: no proxy and no eavesdropper stands in between."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: str) -> dict[str, str] | None:
    if not os.path.exists(path):
        return None
    try:
        value = loads_object(read_file(path))
        require_keys(value, "the file", _KEYS, _OPTIONAL)
        found = {name: fields.text(entry, name) for name, entry in value.items()}
        if "organization" in found:
            fields.uuid(found["organization"], "organization")
    except MalformedError as error:
        raise KeyseatError(
            ReasonCode.INVALID_INPUT,
            f"{shown(path)} cannot be used: {error.message}",
            next_step='Write it as {"url": "https://..."}; organization, api_key_file and ca_bundle may be added.',
        ) from None
    found["url"] = check_url(found["url"])
    return found
