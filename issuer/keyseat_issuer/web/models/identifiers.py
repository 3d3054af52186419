"""Primary keys of the browser side's rows."""

from uuid import UUID

from django.utils import timezone

from keyseat_shared.identifiers import uuid7


def new_id() -> UUID:
    """Return a UUIDv7 of the present moment: a key that sorts by age."""
    return UUID(uuid7(timezone.now()))
