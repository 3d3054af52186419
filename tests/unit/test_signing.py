"""Envelopes as the issuer signs them: read by others, signed by the right keys, also by keys elsewhere."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Key, Signature, Signer

from issuing import PASSPHRASE, cheap_scrypt
from keyseat_issuer.cli.steps import STEPS
from keyseat_issuer.keys.remote import RemoteKey, as_sslib_key
from keyseat_issuer.keys.signing import EnvelopeSigner, open_lease_signer, open_license_signer
from keyseat_issuer.keys.store import KeyStore, PrivateKey
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import LICENSE_TYPE, Envelope
from keyseat_shared.errors import KeyseatError
from keyseat_shared.keys import ED25519, ML_DSA_65
from keyseat_shared.trust import LEASE, RETIRED, TrustBundle
from vendor import NOW, Vendor

PAYLOAD = b'{"format":1}'
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = PrivateKey(SECRET)


def test_securesystemslib_verifies_what_we_sign() -> None:
    file = EnvelopeSigner([KEY]).sign(LICENSE_TYPE, PAYLOAD)
    envelope = OtherEnvelope.from_dict(json.loads(file))
    assert {KEY.public.keyid: as_sslib_key(KEY.public)} == envelope.verify([as_sslib_key(KEY.public)], 1)


def test_we_verify_what_securesystemslib_signs() -> None:
    envelope = OtherEnvelope(PAYLOAD, LICENSE_TYPE, {})
    envelope.sign(CryptoSigner(SECRET, as_sslib_key(KEY.public)))
    file = json.dumps(envelope.to_dict()).encode()
    assert [KEY.public] == Envelope.from_bytes(file).signers([KEY.public])


def test_a_hybrid_envelope_carries_both_signatures() -> None:
    keys = [KEY, PrivateKey.generate(ML_DSA_65)]
    file = EnvelopeSigner(keys).sign(LICENSE_TYPE, PAYLOAD)
    assert [key.public for key in keys] == Envelope.from_bytes(file).signers([key.public for key in keys])


def test_an_envelope_without_a_key_is_not_made() -> None:
    with pytest.raises(ValueError, match="at least one"):
        EnvelopeSigner([])


class TestChoiceOfKeys:
    @pytest.fixture(autouse=True)
    def _cheap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cheap_scrypt(monkeypatch)

    @staticmethod
    def _store(home: Path, vendor: Vendor) -> None:
        for purpose, key in (("license", vendor.key), ("lease", vendor.lease_key), ("license", vendor.pq_key)):
            if key is not None:
                KeyStore(home).save(purpose, PrivateKey(key.private), PASSPHRASE)

    def test_each_purpose_has_its_key(self, tmp_path: Path) -> None:
        vendor = Vendor()
        self._store(tmp_path, vendor)
        licences = open_license_signer(tmp_path, vendor.bundle, PASSPHRASE, NOW)
        leases = open_lease_signer(tmp_path, vendor.bundle, PASSPHRASE, NOW)
        assert ((vendor.key.public.keyid,), (vendor.lease_key.public.keyid,)) == (licences.keyids, leases.keyids)

    def test_a_hybrid_bundle_opens_both_keys_and_asks_once(self, tmp_path: Path) -> None:
        vendor = Vendor(hybrid=True)
        self._store(tmp_path, vendor)
        asked: list[str] = []

        def ask() -> str:
            asked.append("?")
            return PASSPHRASE

        signer = open_license_signer(tmp_path, vendor.bundle, ask, NOW)
        assert tuple(key.public.keyid for key in vendor.signing_keys) == signer.keyids
        assert ["?"] == asked

    def test_the_newest_key_whose_private_half_is_here_signs(self, tmp_path: Path) -> None:
        vendor = Vendor()
        newer, newest = PrivateKey.generate(ED25519), PrivateKey.generate(ED25519)
        self._store(tmp_path, vendor)
        KeyStore(tmp_path).save("license", newer, PASSPHRASE)
        old = vendor.trusted(vendor.key)
        bundle = vendor.bundle_with(
            old,
            old._replace(key=newer.public, valid_from=NOW - timedelta(days=9)),
            old._replace(key=newest.public, valid_from=NOW - timedelta(days=1)),
            vendor.trusted(vendor.lease_key, LEASE),
        )
        assert (newer.public.keyid,) == open_license_signer(tmp_path, bundle, PASSPHRASE, NOW).keyids

    @pytest.mark.parametrize("reason", ["retired", "ended", "only a lease key"])
    def test_no_key_says_how_to_add_one(self, tmp_path: Path, reason: str) -> None:
        vendor = Vendor()
        self._store(tmp_path, vendor)
        entry = vendor.trusted(vendor.key)
        entry = {
            "retired": entry._replace(status=RETIRED),
            "ended": entry._replace(valid_until=NOW),
            "only a lease key": entry._replace(purpose=LEASE),
        }[reason]
        bundle: TrustBundle = vendor.bundle_with(entry)
        with pytest.raises(KeyseatError, match="no active ed25519 license key") as caught:
            open_license_signer(tmp_path, bundle, PASSPHRASE, NOW)
        assert ReasonCode.KEY_UNAVAILABLE is caught.value.code
        assert "keys add --purpose license" in STEPS.of(caught.value)

    def test_a_private_half_that_is_not_here_is_told(self, tmp_path: Path) -> None:
        vendor = Vendor()
        keyid = vendor.trusted(vendor.key).key.keyid
        with pytest.raises(KeyseatError, match="ed25519 license key is not on this host") as caught:
            open_license_signer(tmp_path, vendor.bundle, PASSPHRASE, NOW)
        assert {"lacks": [keyid]} == caught.value.details
        assert f"keys/license-{keyid}.pem" in caught.value.next_step
        assert str(tmp_path) not in str(caught.value)

    def test_a_key_that_is_not_valid_yet_sends_one_to_the_clock(self, tmp_path: Path) -> None:
        vendor = Vendor()
        self._store(tmp_path, vendor)
        entry = vendor.trusted(vendor.key)
        early = entry.valid_from - timedelta(hours=2)
        with pytest.raises(KeyseatError, match="valid from") as caught:
            open_license_signer(tmp_path, vendor.bundle_with(entry), PASSPHRASE, early)
        assert ReasonCode.KEY_UNAVAILABLE is caught.value.code
        assert "clock" in caught.value.next_step


class Vault(Signer):
    """A signer outside this program, found by ``vault-test:<seed in hex>``."""

    def __init__(self, secret: Ed25519PrivateKey, public_key: Key) -> None:
        """Keep the key."""
        self._signer = CryptoSigner(secret, public_key)

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: Callable[[str], str] | None = None
    ) -> "Vault":
        """Open the key; the PIN is the passphrase."""
        if secrets_handler is None or secrets_handler("PIN") != PASSPHRASE:
            raise ValueError("bad PIN")
        return cls(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(priv_key_uri.partition(":")[2])), public_key)

    @property
    def public_key(self) -> Key:
        """The public half."""
        return self._signer.public_key

    def sign(self, payload: bytes) -> Signature:
        """Sign."""
        return self._signer.sign(payload)


class TestKeysElsewhere:
    @pytest.fixture(autouse=True)
    def _vault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "vault-test", Vault)

    def test_a_key_behind_a_uri_signs_like_a_local_one(self, tmp_path: Path) -> None:
        store = KeyStore(tmp_path)
        store.save_uri("license", KEY.public, "vault-test:" + bytes(range(32)).hex())
        remote = store.open(KEY.public, PASSPHRASE)
        assert isinstance(remote, RemoteKey)
        assert EnvelopeSigner([KEY]).sign(LICENSE_TYPE, PAYLOAD) == EnvelopeSigner([remote]).sign(LICENSE_TYPE, PAYLOAD)

    def test_a_device_that_signs_with_another_key_is_found_out(self, tmp_path: Path) -> None:
        store = KeyStore(tmp_path)
        store.save_uri("license", KEY.public, "vault-test:" + bytes(32).hex())
        with pytest.raises(KeyseatError) as caught:
            store.open(KEY.public, PASSPHRASE).sign(b"message")
        assert ReasonCode.KEY_UNAVAILABLE is caught.value.code

    def test_a_device_that_refuses_says_no_secrets(self, tmp_path: Path) -> None:
        store = KeyStore(tmp_path)
        store.save_uri("license", KEY.public, "vault-test:" + bytes(range(32)).hex())
        with pytest.raises(KeyseatError, match="cannot open the key") as caught:
            store.open(KEY.public, "wrong")
        assert bytes(range(32)).hex() not in str(caught.value)

    def test_an_installed_package_can_bring_a_scheme(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        site = tmp_path / "site"
        (site / "box-1.0.dist-info").mkdir(parents=True)
        (site / "box-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: box\nVersion: 1.0\n")
        (site / "box-1.0.dist-info" / "entry_points.txt").write_text("[keyseat.signers]\nbox = box:Box\n")
        (site / "box.py").write_text("from test_signing import Vault as Box\n")
        monkeypatch.syspath_prepend(site)
        monkeypatch.setitem(sys.modules, "test_signing", sys.modules[__name__])
        store = KeyStore(tmp_path)
        store.save_uri("license", KEY.public, "box:" + bytes(range(32)).hex())
        assert KEY.sign(b"message") == store.open(KEY.public, PASSPHRASE).sign(b"message")

    def test_an_unknown_scheme_lists_the_known_ones(self, tmp_path: Path) -> None:
        store = KeyStore(tmp_path)
        store.save_uri("license", KEY.public, "smartcard:1")
        with pytest.raises(KeyseatError) as caught:
            store.open(KEY.public, PASSPHRASE)
        assert ReasonCode.INVALID_INPUT is caught.value.code
        assert "vault-test" in str(caught.value.details["known"])
