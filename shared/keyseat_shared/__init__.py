"""What the issuer and the client must agree on: formats, keys, machine-ID algebra, rules.

This package imports only the standard library and ``cryptography``, and does nothing on import.
"""

__version__ = "1.0.0"
