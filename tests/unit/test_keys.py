"""Public keys: pinned to their algorithm, checked as they enter, compared by what they are and not by their name."""

import hashlib
import sys
from types import SimpleNamespace

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from builders import HYBRID_KEY, LICENSE_KEY, ROOT, SeededKey
from keyseat_shared.codes import ReasonCode, exit_code
from keyseat_shared.envelope import TRUST_TYPE
from keyseat_shared.errors import CouldNotVerifyError, TrustError
from keyseat_shared.keys import ED25519, ML_DSA_65, PUBLIC_KEY_SIZE, SIGNATURE_SIZE, PublicKey, key_id
from keyseat_shared.trust import TrustBundle, bundle_payload
from keyseat_verifier import Verifier
from vendor import MACHINE, NOW, Key, Vendor, envelope

TYPE, BODY = "application/vnd.keyseat.license+json", b"{}"
MESSAGE = b"DSSEv1 36 application/vnd.keyseat.license+json 2 {}"
NEUTRAL = b"\x01" + bytes(31)
# [5]B plus the point of order 2: on the curve, canonical, and yet not of prime order.
MIXED = bytes.fromhex("003789297ce02defa2f4bc7635d1d7ce99b96d76eb91d31f905101674ddab720")


def test_the_key_id_is_a_digest_of_algorithm_and_key() -> None:
    raw = ROOT.public.raw
    assert hashlib.sha256(b"ed25519\0" + raw).hexdigest()[:32] == key_id(ED25519, raw)
    assert key_id(ED25519, raw) != key_id(ML_DSA_65, raw)


@pytest.mark.parametrize("key", [LICENSE_KEY, HYBRID_KEY], ids=lambda key: key.public.algorithm)
class TestEachAlgorithm:
    def test_sizes_are_those_of_the_standard(self, key: SeededKey) -> None:
        assert PUBLIC_KEY_SIZE[key.public.algorithm] == len(key.public.raw)
        assert SIGNATURE_SIZE[key.public.algorithm] == len(key.sign(TYPE, BODY).sig)

    def test_a_signature_holds_for_its_message_only(self, key: SeededKey) -> None:
        signature = key.sign(TYPE, BODY).sig
        assert key.public.verifies(signature, MESSAGE)
        assert key.public.verifies(signature, MESSAGE)  # the loaded key serves again
        assert not key.public.verifies(signature, MESSAGE + b" ")

    def test_a_changed_signature_does_not_hold(self, key: SeededKey) -> None:
        signature = bytearray(key.sign(TYPE, BODY).sig)
        signature[0] ^= 1
        assert not key.public.verifies(bytes(signature), MESSAGE)

    @pytest.mark.parametrize("change", [-1, 1])
    def test_a_signature_of_another_size_does_not_hold(self, key: SeededKey, change: int) -> None:
        signature = (key.sign(TYPE, BODY).sig + b"\0")[: SIGNATURE_SIZE[key.public.algorithm] + change]
        assert not key.public.verifies(signature, MESSAGE)

    def test_another_key_does_not_verify(self, key: SeededKey) -> None:
        assert not SeededKey(99, key.public.algorithm).public.verifies(key.sign(TYPE, BODY).sig, MESSAGE)

    def test_a_key_of_another_size_is_refused(self, key: SeededKey) -> None:
        for raw in (key.public.raw[:-1], key.public.raw + b"\0", b""):
            with pytest.raises(TrustError, match="unknown algorithm or wrong key size") as caught:
                PublicKey(key.public.algorithm, raw, "k")
            assert ReasonCode.TRUST_INVALID == caught.value.code


def test_an_ml_dsa_signature_without_our_context_does_not_hold() -> None:
    assert HYBRID_KEY.public.verifies(HYBRID_KEY.private.sign(MESSAGE, b"keyseat/dsse/v1"), MESSAGE)
    assert not HYBRID_KEY.public.verifies(HYBRID_KEY.private.sign(MESSAGE), MESSAGE)
    assert not HYBRID_KEY.public.verifies(HYBRID_KEY.private.sign(MESSAGE, b"another"), MESSAGE)


@pytest.mark.parametrize("algorithm", ["rsa", "none", "", "ED25519", "ecdsa-p256"])
def test_an_unknown_algorithm_is_refused(algorithm: str) -> None:
    with pytest.raises(TrustError, match="unknown algorithm"):
        PublicKey(algorithm, ROOT.public.raw, "k")


def test_a_small_order_key_is_refused_as_it_enters() -> None:
    with pytest.raises(TrustError, match="small order or not canonical") as caught:
        PublicKey(ED25519, NEUTRAL, "k")
    assert ReasonCode.TRUST_INVALID == caught.value.code


def test_a_key_of_mixed_order_is_refused_before_it_verifies_anything() -> None:
    with pytest.raises(TrustError, match="not a point of prime order"):
        PublicKey(ED25519, MIXED, "k").check()
    with pytest.raises(TrustError, match="not a point of prime order"):
        PublicKey(ED25519, MIXED, "k").verifies(bytes(64), MESSAGE)


def test_a_good_key_passes_the_whole_check_each_time() -> None:
    for key in (ROOT.public, HYBRID_KEY.public):
        key.check()
        key.check()


def test_keys_are_equal_by_algorithm_and_bytes_whatever_their_ids() -> None:
    other_name = PublicKey(ED25519, ROOT.public.raw, "another name")
    assert ROOT.public == other_name
    assert len({ROOT.public, other_name}) == 1
    assert ROOT.public != LICENSE_KEY.public
    assert ROOT.public != ROOT.public.raw


def test_a_key_prints_as_its_algorithm_and_id() -> None:
    assert f"PublicKey(ed25519, {ROOT.public.keyid})" == repr(ROOT.public)


def hybrid_rooted() -> bytes:
    """Return a bundle that roots of both algorithms have signed."""
    roots = [Key("vendor root"), Key("vendor root", ML_DSA_65)]
    payload = bundle_payload(
        version=1,
        issued_at=HYBRID.issued_at,
        vendor="Example",
        root=tuple(key.public for key in roots),
        threshold=1,
        keys=(HYBRID.trusted(HYBRID.key),),
        policy=HYBRID.policy,
    )
    return envelope(TRUST_TYPE, payload, roots)


HYBRID = Vendor(hybrid=True)
HYBRID_LICENSE = HYBRID.license()
HYBRID_ROOTED = hybrid_rooted()


class TestALibraryThatLacksAnAlgorithm:
    """`cryptography` before version 48 has no ML-DSA; a build of it may know the module and not the algorithm."""

    @pytest.fixture(params=["no module", "no algorithm"], autouse=True)
    def lacking(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_raw: bytes) -> None:
            msg = "not in this build"
            raise UnsupportedAlgorithm(msg)

        name = "cryptography.hazmat.primitives.asymmetric.mldsa"
        module = None if request.param == "no module" else SimpleNamespace(MLDSA65PublicKey=SimpleNamespace())
        if module is not None:
            module.MLDSA65PublicKey.from_public_bytes = refuse
        monkeypatch.setitem(sys.modules, name, module)

    def test_could_not_verify_a_licence_that_is_signed_by_it(self) -> None:
        trust = TrustBundle.from_bytes(HYBRID.bundle_bytes())
        with pytest.raises(CouldNotVerifyError) as caught:
            Verifier(trust).verify(HYBRID_LICENSE, machine=MACHINE, now=NOW)
        assert (ReasonCode.ALGORITHM_UNAVAILABLE, "signature") == (caught.value.code, caught.value.step)
        assert {"algorithm": ML_DSA_65} == caught.value.details
        assert 3 == exit_code(caught.value.code)

    def test_a_bundle_that_is_signed_by_it_cannot_be_used(self) -> None:
        with pytest.raises(TrustError) as caught:
            TrustBundle.from_bytes(HYBRID_ROOTED)
        assert ReasonCode.ALGORITHM_UNAVAILABLE == caught.value.code

    def test_what_ed25519_signed_counts(self) -> None:
        vendor = Vendor()
        assert Verifier(vendor.bundle).verify(vendor.license(), machine=MACHINE, now=NOW)
