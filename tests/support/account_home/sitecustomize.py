"""Moves the home that the account database names, in programs that a test starts: see `own_account_home` of the tests.

The product has no setting for this place, so the tests move what it asks. Python imports this file at its start where
its folder is in ``PYTHONPATH``.
"""

import os
import pwd

from_database = pwd.getpwuid
home = os.environ.get("KEYSEAT_TEST_ACCOUNT_HOME", "")


def getpwuid(uid: int, /) -> pwd.struct_passwd:
    """Return the entry of an account; this one's with the test's home."""
    entry = from_database(uid)
    return pwd.struct_passwd((*entry[:5], home, *entry[6:])) if home and uid == os.getuid() else entry


pwd.getpwuid = getpwuid
