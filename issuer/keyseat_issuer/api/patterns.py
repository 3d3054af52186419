"""What texts in calls look like: for the routes that test them, and for the description of the API that tells it."""

PRODUCT = "[A-Za-z0-9][A-Za-z0-9_.-]{0,31}"
MACHINE_ID = "mid1[02-9ac-hj-np-z]{6,86}"
NONCE = "[A-Za-z0-9_-]{22,86}"
IDEMPOTENCY_KEY = "[A-Za-z0-9._:-]{8,128}"


def whole(pattern: str) -> str:
    """Return the pattern as JSON Schema needs it: there a pattern may match anywhere."""
    return f"^{pattern}$"
