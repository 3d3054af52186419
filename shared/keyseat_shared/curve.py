"""Checks of Ed25519 public keys that OpenSSL does not make (RFC 8032, section 5.1).

OpenSSL loads any 32 bytes. Of the small-order encodings some accept *every* message, so a key is
checked once, as it enters a trust bundle: canonical, on the curve, and of prime order.
"""

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
# -121665/121666 and the root of -1, written out because two powers at every start cost more than reading a licence.
_D = 0x52036CEE2B6FFE738CC740797779E89800700A4D4141D8AB75EB4DCA135978A3
_SQRT_MINUS_ONE = 0x2B8324804FC1DF0B2B4D00993DFBD7A72F431806AD2FE478C4EE1B274A0EA0B0
_ENCODED_SIZE = 32
_L_BITS = f"{_L:b}"[1:]


def is_prime_order_point(encoded: bytes) -> bool:
    """Tell whether ``encoded`` (32 bytes) is the canonical encoding of a point of order L on edwards25519.

    Refuses y >= p, points off the curve, x = 0 (the neutral element and the point of order 2, with
    either sign), the other small-order points and all mixed-order points.
    """
    if len(encoded) != _ENCODED_SIZE:
        return False
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= _P:
        return False
    x = _recover_x(y, sign)
    return x is not None and x != 0 and _times_order_is_neutral(x, y)


def _recover_x(y: int, sign: int) -> int | None:
    """Solve the curve equation for x (RFC 8032, section 5.1.3); ``None`` where there is no solution."""
    u = (y * y - 1) % _P
    v = (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if (v * x * x - u) % _P:
        x = x * _SQRT_MINUS_ONE % _P
        if (v * x * x - u) % _P:
            return None
    return _P - x if x and (x & 1) != sign else x


def _times_order_is_neutral(x: int, y: int) -> bool:
    """Tell whether [L](x, y) is the neutral element: double and add in extended coordinates (RFC 8032, 5.1.4)."""
    p, d2 = _P, 2 * _D % _P
    base_plus, base_minus, base_t2d = (y + x) % p, (y - x) % p, d2 * x * y % p
    px, py, pz = x, y, 1
    for bit in _L_BITS:
        a, b, c = px * px, py * py, 2 * pz * pz
        h = a + b
        e = (h - (px + py) ** 2) % p
        g = (a - b) % p
        f = (c + g) % p
        h %= p
        px, py, pz = e * f % p, g * h % p, f * g % p
        if bit == "1":
            t = e * h % p
            a, b = (py - px) * base_minus, (py + px) * base_plus
            c, d = t * base_t2d, 2 * pz
            e, f, g, h = (b - a) % p, (d - c) % p, (d + c) % p, (b + a) % p
            px, py, pz = e * f % p, g * h % p, f * g % p
    return px == 0 and (py - pz) % p == 0


def is_small_order_or_not_canonical(encoded: bytes) -> bool:
    """Tell whether ``encoded`` (32 bytes) has y >= p or is one of the small-order points: a cheap first screen."""
    y = int.from_bytes(encoded, "little") & ((1 << 255) - 1)
    return y >= _P or y in _SMALL_ORDER_Y


# The y coordinates of the 8-torsion points: order 1, 2, 4 (both signs of x) and 8 (four points, two values of y).
_Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER_Y = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})
