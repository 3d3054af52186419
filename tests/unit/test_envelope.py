"""The envelope: read strictly, signed over type and payload, counted by public keys."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.exceptions import VerificationError as PeerVerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from builders import HYBRID_KEY, LEASE_KEY, LICENSE_KEY, SeededKey
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import (
    LEASE_TYPE,
    LICENSE_TYPE,
    MAX_SIGNATURES,
    MAX_SIZE,
    Envelope,
    Signature,
    decode_base64,
    encode_base64,
    pae,
)
from keyseat_shared.errors import MalformedError
from keyseat_shared.keys import ED25519, PublicKey

BODY = b'{"hello":"world"}'
SIGNED = Envelope(LICENSE_TYPE, BODY, (LICENSE_KEY.sign(LICENSE_TYPE, BODY),))


def written(**changes: object) -> bytes:
    """Write ``SIGNED`` with members of the outer object replaced, or removed where the change is ``...``."""
    outer: dict[str, Any] = json.loads(SIGNED.to_bytes()) | changes
    return json.dumps({key: value for key, value in outer.items() if value is not ...}).encode()


def one_signature(**changes: object) -> bytes:
    entry = json.loads(SIGNED.to_bytes())["signatures"][0] | changes
    return written(signatures=[{key: value for key, value in entry.items() if value is not ...}])


class TestEncoding:
    def test_the_pre_authentication_encoding_is_that_of_the_dsse_specification(self) -> None:
        expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        assert expected == pae("http://example.com/HelloWorld", b"hello world")

    def test_lengths_count_bytes_and_keep_type_and_payload_apart(self) -> None:
        assert "DSSEv1 3 é! 0 ".encode() == pae("é!", b"")
        assert pae("a", b"b 1 c") != pae("a 5 b", b"c")

    def test_a_file_is_compact_json_with_a_final_newline(self) -> None:
        assert SIGNED.to_bytes().startswith(b'{"payloadType":"application/vnd.keyseat.license+json","payload":"eyJo')
        assert SIGNED.to_bytes().endswith(b'"}]}\n')
        assert SIGNED == Envelope.from_bytes(SIGNED.to_bytes())

    @pytest.mark.parametrize(
        ("text", "data"), [("QQ==", b"A"), ("QUI=", b"AB"), ("QUJD", b"ABC"), ("+/+/", b"\xfb\xff\xbf")]
    )
    def test_base64_is_standard_and_padded(self, text: str, data: bytes) -> None:
        assert data == decode_base64(text, "it")
        assert text == encode_base64(data)

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("QR==", id="bits in the padding"),
            pytest.param("QUJ=", id="bits in the padding, two bytes"),
            pytest.param("QQ", id="no padding"),
            pytest.param("QQ=", id="half the padding"),
            pytest.param("QQ===", id="too much padding"),
            pytest.param("QQ==QQ==", id="two texts"),
            pytest.param("QQ ==", id="space"),
            pytest.param("QQ==\n", id="line break"),
            pytest.param("-_-_", id="URL-safe alphabet"),
            pytest.param("QÜ==", id="not ASCII"),
            pytest.param("A", id="one character"),
            pytest.param("====", id="padding alone"),
            pytest.param("", id="empty"),
            pytest.param(None, id="null"),
            pytest.param(5, id="number"),
            pytest.param(["QQ=="], id="list"),
        ],
    )
    def test_base64_that_does_not_encode_back_to_itself_is_malformed(self, text: object) -> None:
        with pytest.raises(MalformedError, match="it is not") as caught:
            decode_base64(text, "it")
        assert ReasonCode.MALFORMED == caught.value.code


class TestReading:
    @pytest.mark.parametrize(
        ("data", "said"),
        [
            pytest.param(b"", "empty", id="empty"),
            pytest.param(SIGNED.to_bytes()[:-20], "not JSON", id="truncated"),
            pytest.param(bytes(100), "not JSON", id="NUL bytes"),
            pytest.param(SIGNED.to_bytes().decode().encode("utf-16"), "not UTF-8", id="UTF-16"),
            pytest.param(SIGNED.to_bytes() + SIGNED.to_bytes(), "not JSON", id="two envelopes"),
            pytest.param(SIGNED.to_bytes() + b" " * MAX_SIZE, "larger than 64 KiB", id="larger than 64 KiB"),
            pytest.param(written(payload=...), "lacks payload", id="no payload"),
            pytest.param(written(payloadType=...), "lacks payloadType", id="no type"),
            pytest.param(written(signatures=...), "lacks signatures", id="no signatures"),
            pytest.param(written(alg="none"), "unknown keys: 'alg'", id="an algorithm in the file"),
            pytest.param(written(payloadType=""), "payloadType", id="empty type"),
            pytest.param(written(payloadType="x" * 257), "payloadType", id="long type"),
            pytest.param(written(payloadType=1), "payloadType", id="type is a number"),
            pytest.param(written(payload=""), "payload is not base64", id="empty payload"),
            pytest.param(written(payload="QR=="), "payload is not canonical", id="payload with padding bits"),
            pytest.param(written(payload={"a": 1}), "payload is not base64", id="payload is an object"),
            pytest.param(written(signatures=[]), "1 to 8", id="no signature"),
            pytest.param(written(signatures={}), "1 to 8", id="signatures is an object"),
            pytest.param(
                written(signatures=[{"keyid": "a", "sig": "QQ=="}] * (MAX_SIGNATURES + 1)), "1 to 8", id="9 signatures"
            ),
            pytest.param(written(signatures=["QQ=="]), "a signature is not an object", id="signature is a text"),
            pytest.param(one_signature(keyid=...), "lacks keyid", id="no key id"),
            pytest.param(one_signature(sig=...), "lacks sig", id="no sig"),
            pytest.param(one_signature(cert="x"), "unknown keys: 'cert'", id="a certificate in the file"),
            pytest.param(one_signature(keyid=5), "keyid", id="key id is a number"),
            pytest.param(one_signature(keyid="x" * 257), "keyid", id="long key id"),
            pytest.param(one_signature(sig="QR=="), "sig is not canonical", id="signature with padding bits"),
            pytest.param(one_signature(sig=""), "sig is not base64", id="empty signature"),
            pytest.param(
                SIGNED.to_bytes().replace(b'{"payloadType"', b'{"payload":"QQ==","payloadType"'),
                "duplicate key",
                id="two payloads",
            ),
        ],
    )
    def test_another_shape_is_malformed(self, data: bytes, said: str) -> None:
        with pytest.raises(MalformedError, match=said) as caught:
            Envelope.from_bytes(data)
        assert ReasonCode.MALFORMED == caught.value.code

    def test_a_file_of_exactly_64_kib_is_read(self) -> None:
        data = SIGNED.to_bytes()
        assert SIGNED == Envelope.from_bytes(data + b" " * (MAX_SIZE - len(data)))

    def test_eight_signatures_are_read(self) -> None:
        eight = SIGNED._replace(signatures=SIGNED.signatures * MAX_SIGNATURES)
        assert eight == Envelope.from_bytes(eight.to_bytes())

    def test_the_key_id_may_be_empty_since_it_is_only_a_hint(self) -> None:
        assert Envelope.from_bytes(one_signature(keyid="")).signatures[0].keyid == ""


class TestSigners:
    def test_the_key_that_signed_is_found(self) -> None:
        assert [LICENSE_KEY.public] == SIGNED.signers([LEASE_KEY.public, LICENSE_KEY.public])

    def test_a_key_that_did_not_sign_is_not_found(self) -> None:
        assert [] == SIGNED.signers([LEASE_KEY.public])

    def test_a_signature_under_the_name_of_another_key_does_not_count(self) -> None:
        posed = Envelope(LICENSE_TYPE, BODY, (LEASE_KEY.sign(LICENSE_TYPE, BODY, keyid=LICENSE_KEY.public.keyid),))
        assert [] == posed.signers([LICENSE_KEY.public, LEASE_KEY.public])

    def test_the_type_is_signed_too(self) -> None:
        assert [] == SIGNED._replace(payload_type=LEASE_TYPE).signers([LICENSE_KEY.public])

    def test_a_changed_payload_has_no_signers(self) -> None:
        assert [] == SIGNED._replace(payload=BODY.replace(b"world", b"worle")).signers([LICENSE_KEY.public])

    def test_one_key_under_two_ids_counts_once(self) -> None:
        alias = PublicKey(ED25519, LICENSE_KEY.public.raw, "alias")
        twice = SIGNED._replace(signatures=(*SIGNED.signatures, LICENSE_KEY.sign(LICENSE_TYPE, BODY, keyid="alias")))
        assert [LICENSE_KEY.public] == twice.signers([LICENSE_KEY.public, alias])

    def test_one_signature_listed_twice_counts_once(self) -> None:
        assert [LICENSE_KEY.public] == SIGNED._replace(signatures=SIGNED.signatures * 2).signers([LICENSE_KEY.public])

    def test_a_false_signature_beside_the_true_one_does_not_hide_it(self) -> None:
        false = Signature(LICENSE_KEY.public.keyid, bytes(64))
        both = SIGNED._replace(signatures=(false, *SIGNED.signatures))
        assert [LICENSE_KEY.public] == both.signers([LICENSE_KEY.public])

    def test_both_keys_of_a_hybrid_file_are_found(self) -> None:
        hybrid = Envelope(LICENSE_TYPE, BODY, tuple(key.sign(LICENSE_TYPE, BODY) for key in (LICENSE_KEY, HYBRID_KEY)))
        assert [LICENSE_KEY.public, HYBRID_KEY.public] == Envelope.from_bytes(hybrid.to_bytes()).signers(
            [LICENSE_KEY.public, HYBRID_KEY.public]
        )
        assert len(hybrid.to_bytes()) < 8 * 1024


def peer_key(key: SeededKey) -> SSlibKey:
    pem = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return SSlibKey(key.public.keyid, "ed25519", "ed25519", {"public": key.public.raw.hex()}, {"pem": pem})


class TestInteroperationWithSecuresystemslib:
    def test_their_verifier_accepts_our_file(self) -> None:
        theirs = PeerEnvelope.from_dict(json.loads(SIGNED.to_bytes()))
        assert [LICENSE_KEY.public.keyid] == list(theirs.verify([peer_key(LICENSE_KEY)], 1))
        assert theirs.payload == BODY

    def test_their_verifier_refuses_our_file_once_changed(self) -> None:
        theirs = PeerEnvelope.from_dict(json.loads(SIGNED._replace(payload=BODY + b" ").to_bytes()))
        with pytest.raises(PeerVerificationError):
            theirs.verify([peer_key(LICENSE_KEY)], 1)

    def test_our_verifier_accepts_their_file(self) -> None:
        theirs = PeerEnvelope(BODY, LICENSE_TYPE, {})
        theirs.sign(CryptoSigner(LICENSE_KEY.private, peer_key(LICENSE_KEY)))
        ours = Envelope.from_bytes(json.dumps(theirs.to_dict()).encode())
        assert SIGNED == ours
        assert [LICENSE_KEY.public] == ours.signers([LICENSE_KEY.public])
