"""Primary keys of the ledger: UUIDv7, so that rows sort by the time they were made."""

from datetime import datetime
from uuid import UUID

from keyseat_shared.identifiers import uuid7_number


def new_id(now: datetime) -> UUID:
    """Return a new UUIDv7 for a row made at ``now``."""
    return UUID(int=uuid7_number(now))
