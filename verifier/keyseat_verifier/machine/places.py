"""Where files of this installation live: ``KEYSEAT_HOME``, else ``.keyseat`` in the account's own home."""

import os

TYPE_CHECKING = False  # `typing` itself would cost a third of a bare interpreter start
if TYPE_CHECKING:
    from collections.abc import Mapping


def keyseat_home(environ: "Mapping[str, str]") -> str:
    """Return the folder of licences, state and instance id; it need not exist.

    Without ``KEYSEAT_HOME`` the home is the account database's, not ``HOME``: under ``sudo`` that is another user's.
    """
    configured = environ.get("KEYSEAT_HOME")
    if configured:
        return configured
    try:
        import pwd  # late: does not exist on Windows

        home = pwd.getpwuid(os.getuid()).pw_dir
    except (ImportError, KeyError):
        home = os.path.expanduser("~")
        if home == "~":
            home = os.sep  # as container engines do for an account without an entry; never the present folder
    return os.path.join(home, ".keyseat")
