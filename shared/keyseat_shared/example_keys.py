"""The public keys of ``keys.example``: anybody can sign with them, so nothing trusts them unless told to."""

EXAMPLE_PUBLIC_KEYS: frozenset[bytes] = frozenset()
