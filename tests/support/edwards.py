"""Arithmetic on edwards25519 in affine coordinates: slow and plain, for keys and signatures that nobody should make."""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE = (15112221349535400772501151409588531511454012693041857206046113283949847762202, 4 * pow(5, -1, P) % P)
NEUTRAL = (0, 1)

# The order of the points, and every encoding of them that decodes under RFC 8032 or under a laxer reading.
SMALL_ORDER = {
    "order 1": "0100000000000000000000000000000000000000000000000000000000000000",
    "order 1, sign set": "0100000000000000000000000000000000000000000000000000000000000080",
    "order 1, y + p": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "order 1, y + p, sign set": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "order 2": "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "order 2, sign set": "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "order 4": "0000000000000000000000000000000000000000000000000000000000000000",
    "order 4, other x": "0000000000000000000000000000000000000000000000000000000000000080",
    "order 4, y + p": "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "order 4, y + p, other x": "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "order 8, a": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "order 8, b": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "order 8, c": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "order 8, d": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
}


def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """Add two points of edwards25519 in affine coordinates (RFC 8032, section 5.1): slow and plain, an oracle."""
    t = D * a[0] * b[0] * a[1] * b[1]
    return (
        (a[0] * b[1] + b[0] * a[1]) * pow(1 + t, -1, P) % P,
        (a[1] * b[1] + a[0] * b[0]) * pow(1 - t, -1, P) % P,
    )


def times(scalar: int, point: tuple[int, int]) -> tuple[int, int]:
    """Multiply a point by a scalar."""
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def encode(point: tuple[int, int]) -> bytes:
    """Encode a point (RFC 8032, section 5.1.2)."""
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decode(encoded: bytes) -> tuple[int, int]:
    """Decode a canonical point by way of the square root that suits p = 5 mod 8."""
    number = int.from_bytes(encoded, "little")
    y, sign = number & ((1 << 255) - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square
    return (x if x & 1 == sign else P - x, y)


def secret(seed: bytes) -> tuple[int, bytes]:
    """Return the scalar and the encoded public key of a private key (RFC 8032, section 5.1.5)."""
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | 1 << 254
    return scalar, encode(times(scalar, BASE))


def sign(seed: bytes, message: bytes, *, nonce: int, first: bytes | None = None, add_order: bool = False) -> bytes:
    """Return a signature with a chosen nonce, and if wanted with other bytes for R, or with S + L."""
    scalar, public = secret(seed)
    r = encode(times(nonce, BASE)) if first is None else first
    k = int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % L
    s = (nonce + k * scalar) % L + (L if add_order else 0)
    return r + s.to_bytes(32, "little")
