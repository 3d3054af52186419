"""The trust bundle: self-signed by its roots, updated only by old and new roots together, and never backwards."""

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from builders import (
    END,
    HYBRID_KEY,
    LEASE_KEY,
    LICENSE_KEY,
    ROOT,
    SECOND_ROOT,
    START,
    THIRD_ROOT,
    SeededKey,
    bundle,
    sealed,
    trusted,
)
from keyseat_shared import trust as trust_module
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import LICENSE_TYPE, TRUST_TYPE, Envelope, encode_base64
from keyseat_shared.errors import TrustError, UntrustedError
from keyseat_shared.keys import ED25519, ML_DSA_65, PublicKey
from keyseat_shared.policy import default_policy
from keyseat_shared.strictjson import dumps_compact, loads_object
from keyseat_shared.trust import ACTIVE, COMPROMISED, LEASE, LICENSE, RETIRED, TrustBundle, TrustedKey

SECOND = timedelta(seconds=1)
MIXED_ORDER = bytes.fromhex("003789297ce02defa2f4bc7635d1d7ce99b96d76eb91d31f905101674ddab720")


def refusal(action: Callable[[], object]) -> TrustError:
    with pytest.raises(TrustError) as caught:
        action()
    return caught.value


def edit_json(edit: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def apply(payload: bytes) -> bytes:
        value: dict[str, Any] = loads_object(payload)
        edit(value)
        return dumps_compact(value)

    return apply


class TestReading:
    def test_a_bundle_signed_by_its_root_is_read(self) -> None:
        data = bundle()
        read = TrustBundle.from_bytes(data)
        assert (1, START, "Example Vendor", 1) == (read.version, read.issued_at, read.vendor, read.threshold)
        assert (ROOT.public,) == read.root
        assert (trusted(LICENSE_KEY), trusted(LEASE_KEY, LEASE)) == read.keys
        assert default_policy() == read.policy
        assert (ED25519,) == read.signatures_required
        assert data == read.data

    def test_a_bundle_says_from_when_on_it_is_stale(self) -> None:
        until = START + timedelta(days=90)
        read = TrustBundle.from_bytes(bundle(fresh_until=until))
        second = timedelta(seconds=1)
        assert (until, False, True) == (
            read.fresh_until,
            read.is_stale("lease", until - second),
            read.is_stale("lease", until),
        )
        assert not read.is_stale("offline", until)
        assert not TrustBundle.from_bytes(bundle()).is_stale("lease", until)

    @pytest.mark.parametrize("until", [START, START - timedelta(days=1)])
    def test_one_that_was_never_fresh_is_refused(self, until: datetime) -> None:
        with pytest.raises(TrustError, match="fresh_until is not after"):
            TrustBundle.from_bytes(bundle(fresh_until=until))

    def test_what_is_not_fresh_until_any_instant_is_refused(self) -> None:
        with pytest.raises(TrustError, match="fresh_until is not a UTC"):
            TrustBundle.from_bytes(bundle(edit=lambda data: data.replace(b'"vendor"', b'"fresh_until":null,"vendor"')))

    def test_a_bundle_shows_what_it_is_and_not_the_whole_file(self) -> None:
        assert "<TrustBundle version 1 of 'Example Vendor', 2 keys>" == repr(TrustBundle.from_bytes(bundle()))

    def test_a_key_is_found_by_its_id(self) -> None:
        read = TrustBundle.from_bytes(bundle())
        assert trusted(LEASE_KEY, LEASE) == read.find(LEASE_KEY.public.keyid)
        assert read.find("nobody") is None

    def test_a_hybrid_bundle_is_read(self) -> None:
        data = bundle(
            keys=[trusted(LICENSE_KEY), trusted(HYBRID_KEY)],
            signatures_required=(ED25519, ML_DSA_65),
            root=[ROOT, SeededKey(4, ML_DSA_65)],
            threshold=2,
        )
        read = TrustBundle.from_bytes(data)
        read.check_keys()
        assert (ED25519, ML_DSA_65) == read.signatures_required

    def test_a_bundle_is_loaded_from_a_path(self, tmp_path: Path) -> None:
        (tmp_path / "trust.json").write_bytes(bundle())
        assert TrustBundle.from_bytes(bundle()) == TrustBundle.load(tmp_path / "trust.json")
        assert TrustBundle.from_bytes(bundle()) == TrustBundle.load(str(tmp_path / "trust.json"))

    @pytest.mark.parametrize("name", ["missing.json", "", "a\0b"])
    def test_a_bundle_that_cannot_be_read_is_told_so(self, tmp_path: Path, name: str) -> None:
        error = refusal(lambda: TrustBundle.load(os.path.join(tmp_path, name)))  # noqa: PTH118 - pathlib refuses NUL
        assert ReasonCode.UNREADABLE == error.code
        assert "trust.json" in error.next_step

    def test_a_huge_file_is_not_read_whole(self, tmp_path: Path) -> None:
        with (tmp_path / "huge").open("wb") as file:
            file.truncate(1 << 40)
        assert "larger than 64 KiB" in refusal(lambda: TrustBundle.load(tmp_path / "huge")).message

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            pytest.param(b"", "empty", id="empty"),
            pytest.param(b"{}", "lacks", id="empty object"),
            pytest.param(sealed(LICENSE_TYPE, b"{}", [ROOT]), "not a trust bundle", id="a licence"),
            pytest.param(sealed(TRUST_TYPE, b"[]", [ROOT]), "not an object", id="payload is a list"),
            pytest.param(sealed(TRUST_TYPE, b"{", [ROOT]), "not JSON", id="payload is no JSON"),
            pytest.param(bundle(signers=[SECOND_ROOT]), "signed by 0 of its own root keys; 1 must", id="other signer"),
            pytest.param(bundle(signers=[LICENSE_KEY]), "signed by 0 of its own", id="signed by the licence key"),
        ],
    )
    def test_other_bytes_are_no_bundle(self, data: bytes, said: str) -> None:
        error = refusal(lambda: TrustBundle.from_bytes(data))
        assert ReasonCode.TRUST_INVALID == error.code
        assert said in error.message

    @pytest.mark.parametrize(
        ("edit", "said"),
        [
            pytest.param(lambda v: v.pop("version"), "lacks version", id="no version"),
            pytest.param(lambda v: v.update(version=0), "version", id="version 0"),
            pytest.param(lambda v: v.update(version=2**53 + 1), "beyond 2^53", id="version past 2^53"),
            pytest.param(lambda v: v.update(version=True), "version", id="version is true"),
            pytest.param(lambda v: v.update(format=2), "format is not 1", id="format 2"),
            pytest.param(lambda v: v.update(format=True), "format is not 1", id="format is true"),
            pytest.param(lambda v: v.pop("format"), "format is not 1", id="no format"),
            pytest.param(lambda v: v.update(issuance_log={}), "unknown keys", id="reserved issuance_log"),
            pytest.param(lambda v: v.update(vendor="a\nb"), "vendor", id="line break in the vendor"),
            pytest.param(lambda v: v.update(issued_at="now"), "issued_at", id="no instant"),
            pytest.param(lambda v: v.update(root=[]), "not an object", id="root is a list"),
            pytest.param(lambda v: v["root"].update(threshold=0), "threshold", id="threshold 0"),
            pytest.param(lambda v: v["root"].update(threshold=2), "threshold", id="threshold past the keys"),
            pytest.param(lambda v: v["root"].update(keys=[]), "threshold", id="no root keys"),
            pytest.param(lambda v: v["root"].update(x=1), "unknown keys", id="unknown root field"),
            pytest.param(lambda v: v["root"].update(keys=v["root"]["keys"] * 17), "at most 16", id="17 root keys"),
            pytest.param(lambda v: v.update(keys=v["keys"] * 40), "at most 64", id="80 keys"),
            pytest.param(lambda v: v["keys"][0].update(purpose="root"), "unknown purpose", id="unknown purpose"),
            pytest.param(lambda v: v["keys"][0].update(status="lost"), "purpose or status", id="unknown status"),
            pytest.param(lambda v: v["keys"][0].update(algorithm="rsa"), "unknown algorithm", id="unknown algorithm"),
            pytest.param(lambda v: v["keys"][0].update(algorithm=ML_DSA_65), "wrong key size", id="wrong algorithm"),
            pytest.param(lambda v: v["keys"][0].update(public_key="QQ=="), "wrong key size", id="short key"),
            pytest.param(lambda v: v["keys"][0].update(public_key="QR=="), "canonical base64", id="key not canonical"),
            pytest.param(lambda v: v["keys"][0].update(keyid=""), "keyid", id="empty key id"),
            pytest.param(lambda v: v["keys"][0].update(valid_from="2023-01-01"), "valid_from", id="window is a date"),
            pytest.param(lambda v: v["keys"][0].update(revoked=1), "unknown keys", id="unknown key field"),
            pytest.param(lambda v: v["keys"].append("k"), "not an object", id="key is a text"),
            pytest.param(lambda v: v["keys"].append(v["keys"][0]), "twice", id="key listed twice"),
            pytest.param(
                lambda v: v["keys"].append(v["keys"][0] | {"keyid": "alias"}), "twice", id="one key under two ids"
            ),
            pytest.param(
                lambda v: v["keys"][1].update(keyid=v["keys"][0]["keyid"]), "twice", id="two keys under one id"
            ),
            pytest.param(
                lambda v: v["keys"][0].update(public_key=v["root"]["keys"][0]["public_key"]),
                "twice",
                id="the root key as a licence key",
            ),
            pytest.param(
                lambda v: v["keys"][0].update(public_key=encode_base64(b"\x01" + bytes(31))),
                "small order",
                id="a small-order key",
            ),
            pytest.param(lambda v: v.update(signatures_required=[]), "must hold ed25519", id="no signature required"),
            pytest.param(lambda v: v.update(signatures_required=[ML_DSA_65]), "must hold ed25519", id="ML-DSA alone"),
            pytest.param(
                lambda v: v.update(signatures_required=[ED25519, "rsa"]), "only known", id="unknown algorithm required"
            ),
            pytest.param(lambda v: v["policy"].pop("lease"), "lacks lease", id="policy without leases"),
            pytest.param(lambda v: v.update(policy=None), "policy is not an object", id="no policy"),
        ],
    )
    def test_a_signed_bundle_of_another_shape_is_refused(
        self, edit: Callable[[dict[str, Any]], object], said: str
    ) -> None:
        error = refusal(lambda: TrustBundle.from_bytes(bundle(edit=edit_json(edit))))
        assert ReasonCode.TRUST_INVALID == error.code
        assert said in error.message


class TestThreshold:
    def test_two_of_three_root_keys_suffice_for_a_threshold_of_two(self) -> None:
        three = [ROOT, SECOND_ROOT, THIRD_ROOT]
        assert TrustBundle.from_bytes(bundle(root=three, threshold=2, signers=[THIRD_ROOT, ROOT])).threshold == 2

    def test_one_of_three_does_not(self) -> None:
        data = bundle(root=[ROOT, SECOND_ROOT, THIRD_ROOT], threshold=2, signers=[SECOND_ROOT])
        assert "signed by 1 of its own root keys; 2 must sign" in refusal(lambda: TrustBundle.from_bytes(data)).message

    def test_one_key_that_signs_twice_counts_once(self) -> None:
        data = bundle(root=[ROOT, SECOND_ROOT], threshold=2, signers=[ROOT, ROOT])
        assert "signed by 1" in refusal(lambda: TrustBundle.from_bytes(data)).message

    def test_one_key_listed_under_two_ids_is_refused(self) -> None:
        data = bundle(root=[ROOT, SECOND_ROOT], threshold=2)
        payload = Envelope.from_bytes(data).payload
        value: dict[str, Any] = loads_object(payload)
        value["root"]["keys"][1]["public_key"] = value["root"]["keys"][0]["public_key"]
        forged = dumps_compact(value)
        alias = value["root"]["keys"][1]["keyid"]
        signatures = (ROOT.sign(TRUST_TYPE, forged), ROOT.sign(TRUST_TYPE, forged, keyid=alias))
        error = refusal(lambda: TrustBundle.from_bytes(Envelope(TRUST_TYPE, forged, signatures).to_bytes()))
        assert "twice" in error.message


class TestUpdate:
    PRESENT = TrustBundle.from_bytes(bundle(version=3))

    def test_a_higher_version_signed_by_the_same_root_is_taken(self) -> None:
        newer = bundle(version=7, keys=[trusted(LICENSE_KEY, status=RETIRED)])
        assert TrustBundle.from_bytes(newer) == self.PRESENT.update(newer)

    def test_the_same_bytes_are_the_present_bundle(self) -> None:
        assert self.PRESENT is self.PRESENT.update(self.PRESENT.data)

    @pytest.mark.parametrize("version", [1, 2, 3])
    def test_a_version_that_is_not_higher_is_a_rollback(self, version: int) -> None:
        policy = default_policy(sunset=None)
        error = refusal(lambda: self.PRESENT.update(bundle(version=version, policy=policy)))
        assert ReasonCode.TRUST_ROLLBACK == error.code
        assert {"offered": version, "present": 3} == error.details

    def test_a_rotation_signed_by_old_and_new_root_is_taken(self) -> None:
        rotated = self.PRESENT.update(bundle(version=4, root=[SECOND_ROOT], signers=[ROOT, SECOND_ROOT]))
        assert (SECOND_ROOT.public,) == rotated.root

    def test_after_a_rotation_the_old_root_alone_updates_nothing(self) -> None:
        rotated = self.PRESENT.update(bundle(version=4, root=[SECOND_ROOT], signers=[ROOT, SECOND_ROOT]))
        assert "0 of the present root keys" in refusal(lambda: rotated.update(bundle(version=5))).message

    def test_a_rotation_signed_by_the_old_root_alone_is_refused(self) -> None:
        error = refusal(lambda: self.PRESENT.update(bundle(version=4, root=[SECOND_ROOT], signers=[ROOT])))
        assert ReasonCode.TRUST_INVALID == error.code
        assert "0 of its own root keys" in error.message

    def test_a_rotation_signed_by_the_new_root_alone_is_refused(self) -> None:
        error = refusal(lambda: self.PRESENT.update(bundle(version=4, root=[SECOND_ROOT], signers=[SECOND_ROOT])))
        assert ReasonCode.TRUST_INVALID == error.code
        assert "0 of the present root keys" in error.message

    def test_the_present_threshold_counts_for_a_bundle_that_lowers_it(self) -> None:
        two = TrustBundle.from_bytes(bundle(root=[ROOT, SECOND_ROOT], threshold=2))
        lowered = bundle(version=2, root=[ROOT], signers=[ROOT])
        assert "1 of the present root keys; 2 must sign" in refusal(lambda: two.update(lowered)).message
        assert two.update(bundle(version=2, root=[ROOT], signers=[ROOT, SECOND_ROOT])).threshold == 1

    def test_the_new_threshold_counts_for_a_bundle_that_raises_it(self) -> None:
        raised = bundle(version=4, root=[ROOT, SECOND_ROOT], threshold=2, signers=[ROOT])
        assert "1 of its own root keys; 2 must sign" in refusal(lambda: self.PRESENT.update(raised)).message

    def test_a_strangers_old_version_is_a_bad_signature_and_no_rollback(self) -> None:
        error = refusal(lambda: self.PRESENT.update(bundle(version=1, root=[SECOND_ROOT])))
        assert ReasonCode.TRUST_INVALID == error.code

    def test_an_update_with_an_unusable_key_is_refused_even_if_nothing_uses_it(self) -> None:
        bad = TrustedKey(PublicKey(ED25519, MIXED_ORDER, "mixed"), LICENSE, START, END, ACTIVE)
        error = refusal(lambda: self.PRESENT.update(bundle(version=4, keys=[trusted(LICENSE_KEY), bad])))
        assert "not a point of prime order" in error.message

    def test_bytes_that_are_no_bundle_change_nothing(self) -> None:
        assert ReasonCode.TRUST_INVALID == refusal(lambda: self.PRESENT.update(b"{}")).code


class TestExampleKeys:
    @pytest.mark.parametrize("key", [ROOT, LICENSE_KEY], ids=["root", "licence"])
    def test_an_example_key_is_refused_unless_allowed(self, monkeypatch: pytest.MonkeyPatch, key: SeededKey) -> None:
        monkeypatch.setattr(trust_module, "EXAMPLE_PUBLIC_KEYS", frozenset({key.public.raw}))
        error = refusal(lambda: TrustBundle.from_bytes(bundle()))
        assert ReasonCode.EXAMPLE_KEY == error.code
        assert TrustBundle.from_bytes(bundle(), allow_example_keys=True).version == 1

    def test_an_update_may_not_bring_example_keys_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        present = TrustBundle.from_bytes(bundle(keys=[trusted(LEASE_KEY, LEASE)]))
        monkeypatch.setattr(trust_module, "EXAMPLE_PUBLIC_KEYS", frozenset({LICENSE_KEY.public.raw}))
        assert ReasonCode.EXAMPLE_KEY == refusal(lambda: present.update(bundle(version=2))).code
        assert present.update(bundle(version=2), allow_example_keys=True).version == 2


class TestKeyWindow:
    KEY = trusted(LICENSE_KEY)

    @pytest.mark.parametrize("issued_at", [START, END - SECOND])
    @pytest.mark.parametrize("status", [ACTIVE, RETIRED])
    def test_a_key_may_have_signed_within_its_window(self, issued_at: Any, status: str) -> None:  # noqa: ANN401 - instant
        self.KEY._replace(status=status).check_may_sign(LICENSE, issued_at)

    @pytest.mark.parametrize("issued_at", [START - SECOND, END])
    def test_a_key_may_not_have_signed_outside_its_window(self, issued_at: Any) -> None:  # noqa: ANN401 - instant
        with pytest.raises(UntrustedError, match="was not valid at") as caught:
            self.KEY.check_may_sign(LICENSE, issued_at)
        assert ReasonCode.KEY_NOT_VALID == caught.value.code

    def test_a_lease_key_never_signs_a_licence(self) -> None:
        with pytest.raises(UntrustedError, match="is a lease key, not a license key") as caught:
            trusted(LEASE_KEY, LEASE).check_may_sign(LICENSE, START)
        assert ReasonCode.KEY_NOT_VALID == caught.value.code

    def test_a_compromised_key_counts_for_nothing(self) -> None:
        with pytest.raises(UntrustedError, match="was revoked") as caught:
            self.KEY._replace(status=COMPROMISED).check_may_sign(LICENSE, START)
        assert ReasonCode.KEY_COMPROMISED == caught.value.code
