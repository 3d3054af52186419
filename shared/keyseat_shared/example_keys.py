"""The public keys of ``keys.example``: anybody can sign with them, so nothing trusts them unless told to.

Written by keys.example/build.py.
"""

EXAMPLE_PUBLIC_KEYS: frozenset[bytes] = frozenset(
    {
        bytes.fromhex("307327bdcb43bf2403aba22400c06d38d6122be286909ae5b3d6fe681bb16346"),
        bytes.fromhex("9dd7a31b97b64b1b667c271e1b373b86814ccc9e7feb367f13576ac1aceb942d"),
        bytes.fromhex("75a4ce6dcb5123356a187bad59ad551ba9b17390308be0409924191862f7fbed"),
    }
)
