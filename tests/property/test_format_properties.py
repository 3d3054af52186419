"""Whatever the bytes are, the parsers of keyseat_shared answer with a value or with a reason, and round trips hold."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builders import LICENSE_KEY, ROOT, SECOND_ROOT, START, bundle, sealed
from keyseat_shared.envelope import LICENSE_TYPE, Envelope, Signature, decode_base64, encode_base64, pae
from keyseat_shared.errors import KeyseatError, MalformedError, TrustError
from keyseat_shared.instants import add_years, exceeds_years, format_instant, parse_instant, parse_typed, whole_years
from keyseat_shared.payloads import LeasePayload, LicensePayload, MachineTestPayload
from keyseat_shared.policy import FLOATING, NAMED, Policy, Product
from keyseat_shared.strictjson import MAX_DEPTH, dumps_compact, loads_object
from keyseat_shared.trust import TrustBundle

WHOLE_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WHOLE_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WHOLE_TEXT, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(WHOLE_TEXT, JSON, max_size=5)
INSTANTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC)).map(  # noqa: DTZ001 - bounds
    lambda instant: instant.replace(microsecond=0)
)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=320)
CODES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", fullmatch=True)
UUIDS = st.uuids().map(str)
DIGESTS = st.binary(min_size=32, max_size=32).map(lambda raw: "sha256:" + raw.hex())

LICENSES = st.builds(
    LicensePayload,
    license_id=UUIDS,
    product=CODES,
    organization_id=UUIDS,
    organization_name=PRINTABLE,
    user=st.none() | PRINTABLE,
    subscription_id=UUIDS,
    term=CODES,
    starts_at=INSTANTS,
    ends_at=INSTANTS,
    machine_id=PRINTABLE,
    sessions=st.integers(1, 10_000),
    features=st.lists(CODES, max_size=8, unique=True).map(tuple),
    issued_at=INSTANTS,
    expires_at=INSTANTS,
    policy=DIGESTS,
)
TESTS = st.builds(MachineTestPayload, UUIDS, CODES, UUIDS, PRINTABLE, PRINTABLE, INSTANTS, INSTANTS)


@st.composite
def leases(draw: st.DrawFn) -> LeasePayload:
    issued = draw(INSTANTS)
    lengths = sorted(draw(st.tuples(*[st.integers(0, 90 * 86400)] * 2)))
    renew, expires = [min(LAST - issued, timedelta(seconds=length)) + issued for length in lengths]
    texts = draw(st.tuples(PRINTABLE, PRINTABLE, PRINTABLE))
    ids = draw(st.tuples(UUIDS, UUIDS, UUIDS))
    user = draw(st.none() | PRINTABLE)
    return LeasePayload(ids[0], ids[1], draw(CODES), ids[2], texts[0], user, *texts[1:], issued, renew, expires)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    products = st.builds(
        Product, PRINTABLE, st.sampled_from([NAMED, FLOATING]), st.sampled_from(["quota", "unlimited"])
    )
    ttl = draw(st.integers(1, 90 * 86400))
    return Policy(
        draw(st.none() | INSTANTS),
        tuple(draw(st.lists(CODES, max_size=4, unique=True))),
        draw(st.dictionaries(CODES, products, min_size=1, max_size=5)),
        ttl,
        draw(st.integers(1, ttl)),
        tuple(draw(st.lists(st.sampled_from(["host-id", "instance-file"]), unique=True))),
        draw(st.integers(1, 100)),
        tuple(draw(st.lists(st.sampled_from(["lease", "offline"]), unique=True))),
    )


class TestRoundTrips:
    @given(OBJECTS)
    def test_an_object_written_compactly_is_read_back(self, value: dict[str, object]) -> None:
        assert value == loads_object(dumps_compact(value))

    @given(OBJECTS)
    def test_an_object_written_with_escapes_is_read_back(self, value: dict[str, object]) -> None:
        assert value == loads_object(json.dumps(value, indent=1).encode())

    @given(st.binary(min_size=1, max_size=200))
    def test_base64_is_read_back(self, data: bytes) -> None:
        assert data == decode_base64(encode_base64(data), "it")

    @given(INSTANTS)
    def test_an_instant_is_read_back(self, instant: datetime) -> None:
        assert instant == parse_instant(format_instant(instant))
        assert instant == parse_typed(format_instant(instant), end_of_day=True)

    @given(LICENSES)
    def test_a_licence_is_read_back(self, payload: LicensePayload) -> None:
        assert payload == LicensePayload.from_bytes(payload.to_bytes())

    @given(TESTS)
    def test_a_test_licence_is_read_back(self, payload: MachineTestPayload) -> None:
        assert payload == MachineTestPayload.from_bytes(payload.to_bytes())

    @given(leases())
    def test_a_lease_is_read_back(self, payload: LeasePayload) -> None:
        assert payload == LeasePayload.from_bytes(payload.to_bytes())

    @given(policies(), INSTANTS.filter(lambda instant: instant > START))
    def test_a_bundle_is_read_back(self, policy: Policy, fresh_until: datetime) -> None:
        for until in (None, fresh_until):
            read = TrustBundle.from_bytes(bundle(policy=policy, fresh_until=until))
            assert (policy, until) == (read.policy, read.fresh_until)
            if until is not None:
                before = until - timedelta(seconds=1)
                for use in ("lease", "offline"):
                    assert not read.is_stale(use, before)
                    assert read.is_stale(use, until) is (use in policy.freshness_required)

    @given(policies())
    def test_a_policy_is_read_back_with_its_digest(self, policy: Policy) -> None:
        read = Policy.from_dict(loads_object(dumps_compact(policy.to_dict())))
        assert policy == read
        assert policy.digest() == read.digest()

    @given(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256),
        st.binary(min_size=1, max_size=300),
        st.lists(
            st.builds(Signature, WHOLE_TEXT.filter(lambda t: len(t) <= 256), st.binary(min_size=1, max_size=80)),
            min_size=1,
            max_size=8,
        ).map(tuple),
    )
    def test_an_envelope_is_read_back(self, kind: str, payload: bytes, signatures: tuple[Signature, ...]) -> None:
        envelope = Envelope(kind, payload, signatures)
        assert envelope == Envelope.from_bytes(envelope.to_bytes())

    @given(st.binary(max_size=300), st.text("0aZ_\u0661", max_size=4), st.binary(max_size=80))
    def test_the_usual_envelope_is_written_like_any(self, payload: bytes, keyid: str, sig: bytes) -> None:
        envelope = Envelope(LICENSE_TYPE, payload, (Signature(keyid, sig),))
        assert envelope._to_any_json() == envelope.to_bytes()

    @given(LICENSES)
    def test_the_usual_licence_is_read_like_any(self, payload: LicensePayload) -> None:
        written = payload._replace(sessions=1, features=()).to_bytes()
        assert LicensePayload._from_any_json(written) == LicensePayload.from_bytes(written)

    @given(LICENSES, WHOLE_TEXT, st.none() | WHOLE_TEXT, st.integers(0, 2))
    def test_the_usual_licence_is_written_like_any(
        self, payload: LicensePayload, name: str, user: str | None, sessions: int
    ) -> None:
        usual = payload._replace(organization_name=name, user=user, sessions=sessions, features=())
        assert dumps_compact(usual.to_dict()) == usual.to_bytes()


class TestWhatIsSigned:
    @given(st.tuples(WHOLE_TEXT, st.binary()), st.tuples(WHOLE_TEXT, st.binary()))
    @example(("a", b"b 1 c"), ("a 5 b", b"c"))
    def test_two_files_never_share_their_signed_bytes(self, a: tuple[str, bytes], b: tuple[str, bytes]) -> None:
        assert (a == b) == (pae(*a) == pae(*b))


class TestYears:
    @given(INSTANTS.filter(lambda i: i.year < 9900), st.integers(1, 90))
    def test_adding_years_gives_that_many_whole_years(self, start: datetime, years: int) -> None:
        assert years == whole_years(start, add_years(start, years))

    @given(INSTANTS.filter(lambda i: i.year < 9900), st.integers(1, 90), st.integers(1, 10**7))
    def test_a_period_past_the_year_is_not_whole_until_the_next(self, start: datetime, years: int, more: int) -> None:
        end = add_years(start, years) + timedelta(seconds=more)
        assert whole_years(start, end) == 0

    @given(INSTANTS, INSTANTS, st.integers(1, 100))
    def test_a_period_is_too_long_by_the_calendar_at_whatever_end_of_time(
        self, start: datetime, end: datetime, years: int
    ) -> None:
        if exceeds_years(start, end, years):
            assert end - start > timedelta(days=365 * years)
        else:
            assert end - start <= timedelta(days=366 * years)

    @given(INSTANTS.filter(lambda i: i.year < 9900), st.integers(1, 90))
    def test_exactly_that_many_years_are_not_too_long(self, start: datetime, years: int) -> None:
        end = add_years(start, years)
        assert not exceeds_years(start, end, years)
        assert exceeds_years(start, end + timedelta(seconds=1), years)


LICENSE_FILE = sealed(LICENSE_TYPE, b'{"format":1,"license_id":"018876a1-0000-7000-8000-000000000000"}', [LICENSE_KEY])
BUNDLE_FILE = bundle(root=[ROOT, SECOND_ROOT], threshold=2)
PRESENT = TrustBundle.from_bytes(bundle())


@st.composite
def mutated(draw: st.DrawFn, original: bytes) -> bytes:
    """Replace, remove, or insert a few bytes of a good file."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        length = draw(st.integers(0, 3))
        data[at : at + length] = draw(st.binary(max_size=3) | st.sampled_from([b'"', b"}", b"[", b"\\u", b"=", b"\0"]))
    return bytes(data) or b" "


class TestNothingButOurErrors:
    @given(st.binary(max_size=200) | mutated(LICENSE_FILE) | WHOLE_TEXT.map(str.encode))
    @example(b"[" * 60_000)
    @example(b'{"a":' * 10_000)
    @example(b'{"a": 1e999}')
    def test_an_envelope_of_any_bytes(self, data: bytes) -> None:
        try:
            envelope = Envelope.from_bytes(data)
        except MalformedError:
            return
        # Read at all: then what it says survives a rewriting, and it still verifies only if nothing signed changed.
        assert envelope == Envelope.from_bytes(envelope.to_bytes())
        original = Envelope.from_bytes(LICENSE_FILE)
        assert (envelope == original) == (envelope.signers([LICENSE_KEY.public]) == [LICENSE_KEY.public])

    @given(mutated(BUNDLE_FILE) | st.binary(max_size=100))
    def test_a_bundle_of_any_bytes(self, data: bytes) -> None:
        try:
            read = TrustBundle.from_bytes(data)
        except TrustError:
            return
        assert TrustBundle.from_bytes(BUNDLE_FILE)._replace(data=data) == read

    @given(
        mutated(Envelope.from_bytes(BUNDLE_FILE).payload),
        st.sampled_from([TrustBundle.from_bytes, PRESENT.update]),
    )
    def test_a_signed_bundle_of_any_payload(self, payload: bytes, read: object) -> None:
        kind = Envelope.from_bytes(BUNDLE_FILE).payload_type
        data = sealed(kind, payload, [ROOT, SECOND_ROOT])
        try:
            found = read(data)  # type: ignore[operator] # a sampled function
        except TrustError:
            return
        assert found.data == data

    @given(OBJECTS | st.binary(max_size=60), st.sampled_from([LicensePayload, MachineTestPayload, LeasePayload]))
    def test_a_payload_of_any_bytes(self, value: dict[str, object] | bytes, kind: type[LicensePayload]) -> None:
        data = value if isinstance(value, bytes) else dumps_compact(value)
        with pytest.raises(MalformedError):
            kind.from_bytes(data)

    @given(LICENSES.map(lambda payload: payload.to_bytes()).flatmap(mutated))
    def test_a_changed_licence_payload(self, data: bytes) -> None:
        try:
            read = LicensePayload.from_bytes(data)
        except MalformedError:
            return
        assert read == LicensePayload.from_bytes(read.to_bytes())

    @given(st.dictionaries(st.sampled_from(["sunset", "eligible_terms", "products", "lease", "x"]), JSON))
    def test_a_policy_of_any_values(self, value: dict[str, object]) -> None:
        with pytest.raises(MalformedError):
            Policy.from_dict(value)

    @given(st.text(max_size=30), st.booleans())
    @example("9999-12-31", True)  # noqa: FBT003 - positional by hypothesis
    def test_a_typed_date_of_any_text(self, text: str, end_of_day: bool) -> None:  # noqa: FBT001 - drawn
        try:
            instant = parse_typed(text, end_of_day=end_of_day)
        except KeyseatError:
            return
        assert instant.tzinfo is UTC

    @given(st.text(max_size=30))
    def test_base64_of_any_text(self, text: str) -> None:
        try:
            data = decode_base64(text, "it")
        except MalformedError:
            return
        assert text == encode_base64(data)

    @given(st.integers(1, 40), st.sampled_from([b"[", b'{"a":']))
    def test_nesting_is_bounded_exactly(self, depth: int, opener: bytes) -> None:
        closer = b"]" if opener == b"[" else b"}"
        data = b'{"a":' + opener * depth + b"1" + closer * depth + b"}"
        if depth + 1 <= MAX_DEPTH:
            assert "a" in loads_object(data)
        else:
            with pytest.raises(MalformedError):
                loads_object(data)


def test_no_single_bit_of_a_signature_is_free() -> None:
    envelope = Envelope.from_bytes(LICENSE_FILE)
    keyid, signature = envelope.signatures[0]
    for bit in range(8 * len(signature)):
        flipped = (int.from_bytes(signature, "little") ^ 1 << bit).to_bytes(len(signature), "little")
        assert envelope._replace(signatures=(Signature(keyid, flipped),)).signers([LICENSE_KEY.public]) == []


def standard(data: bytes) -> object:
    """Read by the standard library what is JSON to it; the rest gives ``None``."""
    try:
        return json.loads(data)
    except ValueError:
        return None


class TestOurReaderBesideTheStandardOne:
    @given(OBJECTS, st.sampled_from([None, 0, 3]), st.booleans())
    def test_both_read_the_same(self, value: dict[str, object], indent: int | None, escapes: bool) -> None:  # noqa: FBT001
        data = json.dumps(value, ensure_ascii=escapes, indent=indent).encode()
        assert json.loads(data) == loads_object(data) == value

    @given(JSON)
    def test_both_write_the_same(self, value: object) -> None:
        written = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        assert written == dumps_compact(value)

    @given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
    def test_both_write_numbers_the_same(self, value: float) -> None:
        assert json.dumps(value).encode() == dumps_compact(value)

    @given(OBJECTS, st.data())
    def test_ours_reads_nothing_that_the_standard_one_refuses(
        self, value: dict[str, object], data: st.DataObject
    ) -> None:
        text = dumps_compact(value)
        at = data.draw(st.integers(0, len(text)))
        piece = data.draw(
            st.sampled_from([b"", b'"', b"\\", b"{", b"}", b"[", b",", b":", b"0", b"-", b".5", b"\n", b" "])
        )
        changed = text[:at] + piece + text[at + data.draw(st.integers(0, 2)) :]
        try:
            found = loads_object(changed)
        except MalformedError:
            return
        assert standard(changed) == found
