"""Ed25519 public keys: only canonical points of prime order enter a bundle."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edwards import BASE, NEUTRAL, SMALL_ORDER, L, P, add, decode, encode, times
from keyseat_shared.curve import is_prime_order_point, is_small_order_or_not_canonical


@pytest.mark.parametrize("encoded", SMALL_ORDER.values(), ids=SMALL_ORDER)
def test_no_small_order_encoding_is_a_key(encoded: str) -> None:
    raw = bytes.fromhex(encoded)
    assert not is_prime_order_point(raw)
    assert is_small_order_or_not_canonical(raw)


def test_all_14_small_order_encodings_are_listed() -> None:
    assert len(set(SMALL_ORDER.values())) == 14


@pytest.mark.parametrize("encoded", SMALL_ORDER.values(), ids=SMALL_ORDER)
def test_openssl_loads_a_small_order_key_so_the_check_is_ours(encoded: str) -> None:
    assert bytes.fromhex(encoded) == Ed25519PublicKey.from_public_bytes(bytes.fromhex(encoded)).public_bytes_raw()


def test_openssl_takes_a_forgery_under_the_neutral_element() -> None:
    # R = [s]B satisfies [s]B = R + [h]A for every message where A is neutral: why the check exists.
    forged = encode(times(5, BASE)) + (5).to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(SMALL_ORDER["order 1"])).verify(forged, b"any message at all")


@pytest.mark.parametrize("torsion", ["order 2", "order 4", "order 4, other x", "order 8, a", "order 8, d"])
@pytest.mark.parametrize("scalar", [1, 2, 987_654_321])
def test_a_point_of_mixed_order_is_no_key(torsion: str, scalar: int) -> None:
    pure = times(scalar, BASE)
    mixed = add(pure, decode(bytes.fromhex(SMALL_ORDER[torsion])))
    assert is_prime_order_point(encode(pure))
    assert not is_prime_order_point(encode(mixed))
    assert not is_small_order_or_not_canonical(encode(mixed))


@pytest.mark.parametrize("seed", range(16))
def test_a_generated_key_is_of_prime_order(seed: int) -> None:
    raw = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key().public_bytes_raw()
    assert is_prime_order_point(raw)
    assert not is_small_order_or_not_canonical(raw)


def test_multiples_near_the_group_order_are_of_prime_order_but_the_order_itself_is_not() -> None:
    assert is_prime_order_point(encode(times(L - 1, BASE)))
    assert NEUTRAL == times(L, BASE)
    assert not is_prime_order_point(encode(times(L, BASE)))


@pytest.mark.parametrize("y", [2, 7, P - 2])
def test_a_y_off_the_curve_is_no_key(y: int) -> None:
    assert not is_prime_order_point(y.to_bytes(32, "little"))


@pytest.mark.parametrize("y", [P, P + 1, P + 3, 2**255 - 1])
@pytest.mark.parametrize("sign", [0, 1])
def test_a_y_that_is_not_reduced_is_no_key(y: int, sign: int) -> None:
    raw = (y | sign << 255).to_bytes(32, "little")
    assert not is_prime_order_point(raw)
    assert is_small_order_or_not_canonical(raw)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_another_size_is_no_key(size: int) -> None:
    assert not is_prime_order_point(b"\x09" * size)
