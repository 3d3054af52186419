"""The payloads: exactly the fields of the specification, each of its own type and in its range."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import MalformedError
from keyseat_shared.payloads import MAX_SESSIONS, LeasePayload, LicensePayload, MachineTestPayload
from keyseat_shared.strictjson import dumps_compact, loads_object

ISSUED = datetime(2023, 6, 1, tzinfo=UTC)
IDS = [f"018876a1-0000-7000-8000-00000000000{n}" for n in range(4)]

LICENSE = LicensePayload(
    license_id=IDS[0],
    product="KSE",
    organization_id=IDS[1],
    organization_name="Ærø Test GmbH",
    user="ada@example.com",
    subscription_id=IDS[2],
    term="annual",
    starts_at=ISSUED,
    ends_at=datetime(2024, 6, 1, tzinfo=UTC),
    machine_id="mid1qqqq",
    sessions=1,
    features=("studio", "ai"),
    issued_at=ISSUED,
    expires_at=datetime(2024, 6, 1, tzinfo=UTC),
    policy="sha256:" + "ab" * 32,
)
TEST = MachineTestPayload(IDS[0], "KRE", IDS[1], "Ærø Test GmbH", "mid1qqqq", ISSUED, ISSUED + timedelta(days=7))
LEASE = LeasePayload(
    lease_id=IDS[0],
    session_id=IDS[3],
    product="KRE",
    organization_id=IDS[1],
    organization_name="Ærø Test GmbH",
    user=None,
    machine_id="mid1qqqq",
    nonce="bm9uY2U",
    issued_at=ISSUED,
    renew_after=ISSUED + timedelta(minutes=20),
    expires_at=ISSUED + timedelta(hours=1),
)
EACH = pytest.mark.parametrize("payload", [LICENSE, TEST, LEASE], ids=lambda payload: type(payload).__name__)


def edited(payload: Any, edit: Callable[[dict[str, Any]], object]) -> bytes:  # noqa: ANN401 - any of the three kinds
    value = loads_object(payload.to_bytes())
    edit(value)
    return dumps_compact(value)


@EACH
class TestEveryPayload:
    def test_it_reads_back_as_written(self, payload: Any) -> None:  # noqa: ANN401 - any of the three kinds
        assert payload == type(payload).from_bytes(payload.to_bytes())

    def test_each_field_is_required(self, payload: Any) -> None:  # noqa: ANN401 - as above
        for key in loads_object(payload.to_bytes()):
            with pytest.raises(MalformedError, match=f"lacks {key}"):
                type(payload).from_bytes(edited(payload, lambda value, key=key: value.pop(key)))

    def test_each_field_refuses_another_type(self, payload: Any) -> None:  # noqa: ANN401 - as above
        for key in loads_object(payload.to_bytes()):
            for wrong in (True, {"a": {}}, [[]], -1):
                with pytest.raises(MalformedError):
                    type(payload).from_bytes(edited(payload, lambda value, k=key, w=wrong: value.update({k: w})))

    def test_an_unknown_field_is_refused(self, payload: Any) -> None:  # noqa: ANN401 - as above
        with pytest.raises(MalformedError, match="unknown keys: 'admin'") as caught:
            type(payload).from_bytes(edited(payload, lambda value: value.update(admin=1)))
        assert ReasonCode.MALFORMED == caught.value.code

    def test_an_unknown_field_of_the_organisation_is_refused(self, payload: Any) -> None:  # noqa: ANN401 - as above
        with pytest.raises(MalformedError, match="unknown keys"):
            type(payload).from_bytes(edited(payload, lambda value: value["organization"].update(x=1)))

    @pytest.mark.parametrize("version", [0, 2, 99])
    def test_another_format_asks_for_an_update_even_with_other_fields(self, payload: Any, version: int) -> None:  # noqa: ANN401 - as above
        with pytest.raises(MalformedError, match=f"has format {version}") as caught:
            type(payload).from_bytes(edited(payload, lambda value: value.update(format=version, seal="x")))
        assert ReasonCode.UNSUPPORTED_FORMAT == caught.value.code

    @pytest.mark.parametrize("version", [True, "1", None])
    def test_a_format_that_is_no_number_is_malformed(self, payload: Any, version: object) -> None:  # noqa: ANN401 - as above
        with pytest.raises(MalformedError) as caught:
            type(payload).from_bytes(edited(payload, lambda value: value.update(format=version)))
        assert ReasonCode.MALFORMED == caught.value.code


class TestLicense:
    def test_the_payload_is_the_one_of_the_specification(self) -> None:
        expected = (
            '{"format":1,"license_id":"018876a1-0000-7000-8000-000000000000","product":"KSE",'
            '"organization":{"id":"018876a1-0000-7000-8000-000000000001","name":"Ærø Test GmbH"},'
            '"user":"ada@example.com","subscription":{"id":"018876a1-0000-7000-8000-000000000002","term":"annual",'
            '"starts_at":"2023-06-01T00:00:00Z","ends_at":"2024-06-01T00:00:00Z"},"machine_id":"mid1qqqq",'
            '"sessions":1,"features":["studio","ai"],"issued_at":"2023-06-01T00:00:00Z",'
            '"expires_at":"2024-06-01T00:00:00Z","policy":"sha256:' + "ab" * 32 + '"}'
        )
        assert expected.encode() == LICENSE.to_bytes()

    def test_a_floating_licence_has_no_user(self) -> None:
        floating = LICENSE._replace(product="KRE", user=None, sessions=25)
        assert floating == LicensePayload.from_bytes(floating.to_bytes())

    @pytest.mark.parametrize("sessions", [0, MAX_SESSIONS + 1, True, "1"])
    def test_sessions_are_within_range(self, sessions: object) -> None:
        with pytest.raises(MalformedError, match="sessions"):
            LicensePayload.from_bytes(edited(LICENSE, lambda value: value.update(sessions=sessions)))

    @pytest.mark.parametrize("key", ["id", "term", "starts_at", "ends_at"])
    def test_each_field_of_the_subscription_is_required(self, key: str) -> None:
        with pytest.raises(MalformedError, match=f"subscription lacks {key}"):
            LicensePayload.from_bytes(edited(LICENSE, lambda value: value["subscription"].pop(key)))

    def test_features_are_distinct_short_names(self) -> None:
        for features in (["a", "a"], ["a b"], ["f%d" % n for n in range(65)]):  # noqa: UP031 - short
            with pytest.raises(MalformedError):
                LicensePayload.from_bytes(edited(LICENSE, lambda value, f=features: value.update(features=f)))


class TestLease:
    def test_a_lease_of_a_user_keeps_the_user(self) -> None:
        assert LeasePayload.from_bytes(LEASE._replace(user="ada@example.com").to_bytes()).user == "ada@example.com"

    @pytest.mark.parametrize(
        "changes",
        [
            {"renew_after": ISSUED - timedelta(seconds=1)},
            {"renew_after": ISSUED + timedelta(hours=2)},
            {"expires_at": ISSUED - timedelta(seconds=1)},
        ],
    )
    def test_instants_out_of_order_are_refused(self, changes: dict[str, datetime]) -> None:
        with pytest.raises(MalformedError, match="out of order"):
            LeasePayload.from_bytes(LEASE._replace(**changes).to_bytes())

    def test_no_lease_lasts_longer_than_any_policy_allows(self) -> None:
        longest = LEASE._replace(expires_at=ISSUED + timedelta(days=90))
        assert longest == LeasePayload.from_bytes(longest.to_bytes())
        for end in (ISSUED + timedelta(days=90, seconds=1), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)):
            with pytest.raises(MalformedError, match="longer than any policy allows"):
                LeasePayload.from_bytes(LEASE._replace(expires_at=end).to_bytes())


def test_one_kind_of_payload_is_never_read_as_another() -> None:
    kinds = (LICENSE, TEST, LEASE)
    for written in kinds:
        for reader in kinds:
            if reader is not written:
                with pytest.raises(MalformedError, match=r"lacks|unknown"):
                    type(reader).from_bytes(written.to_bytes())
