"""The policy: the vendor's rules as data, read strictly, with a digest that names them."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from keyseat_shared.errors import MalformedError
from keyseat_shared.policy import FLOATING, Policy, Product, default_policy
from keyseat_shared.strictjson import dumps_compact, loads_object

WRITTEN = (
    '{"sunset":"2024-01-17T00:00:00Z","eligible_terms":["annual"],"products":{'
    '"KRE":{"name":"Katalon Runtime Engine","seats":"floating","assigned_users":"quota"},'
    '"KSE":{"name":"Katalon Studio Enterprise","seats":"named","assigned_users":"quota"}},'
    '"lease":{"ttl":3600,"renew_after":1200}}'
)
FULL = default_policy()._replace(
    products={"APP": Product("An App", FLOATING, "unlimited")},
    eligible_terms=("annual", "monthly"),
    forbidden_evidence=("host-id", "instance-file"),
    max_years=3,
    freshness_required=("offline", "lease"),
    lease_overlap=0,
    lease_takeovers=3,
)


def read(edit: Callable[[dict[str, Any]], object]) -> Policy:
    value: dict[str, Any] = loads_object(WRITTEN.encode())
    edit(value)
    return Policy.from_dict(value)


def test_the_default_policy_is_the_vendors() -> None:
    assert WRITTEN.encode() == dumps_compact(default_policy().to_dict())
    assert datetime(2024, 1, 17, tzinfo=UTC) == default_policy().sunset


@pytest.mark.parametrize(
    "policy", [default_policy(), default_policy(sunset=None), FULL], ids=["default", "open", "full"]
)
def test_a_policy_reads_back_as_written(policy: Policy) -> None:
    assert policy == Policy.from_dict(loads_object(dumps_compact(policy.to_dict())))


def test_the_digest_is_that_of_the_compact_json() -> None:
    assert "sha256:" + hashlib.sha256(WRITTEN.encode()).hexdigest() == default_policy().digest()


def test_the_digest_does_not_depend_on_the_order_of_products() -> None:
    turned = default_policy()._replace(products=dict(reversed(default_policy().products.items())))
    assert default_policy().digest() == turned.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"sunset": None},
        {"eligible_terms": ()},
        {"lease_ttl": 60},
        {"forbidden_evidence": ("host-id",)},
        {"max_years": 9},
        {"freshness_required": ()},
        {"lease_overlap": 0},
        {"lease_takeovers": 0},
    ],
)
def test_each_rule_changes_the_digest(change: dict[str, Any]) -> None:
    assert default_policy().digest() != default_policy()._replace(**change).digest()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        pytest.param(lambda v: v.pop("sunset"), "lacks sunset", id="no sunset"),
        pytest.param(lambda v: v.update(sunset="2024-01-17"), "sunset is not", id="sunset is a date"),
        pytest.param(lambda v: v.update(grace=1), "unknown keys", id="unknown rule"),
        pytest.param(lambda v: v.update(products={}), "1 to 64", id="no product"),
        pytest.param(lambda v: v.update(products={f"P{n}": {} for n in range(65)}), "1 to 64", id="65 products"),
        pytest.param(lambda v: v["products"].update({"../x": v["products"]["KSE"]}), "short name", id="product code"),
        pytest.param(lambda v: v["products"].update(KSE=[]), "not an object", id="product is a list"),
        pytest.param(lambda v: v["products"]["KSE"].update(seats="site"), "unknown kind", id="unknown seats"),
        pytest.param(lambda v: v["products"]["KSE"].update(assigned_users="5"), "unknown kind", id="unknown users"),
        pytest.param(lambda v: v["products"]["KSE"].update(name=""), "name", id="empty name"),
        pytest.param(lambda v: v["products"]["KSE"].update(price=1), "unknown keys", id="unknown product field"),
        pytest.param(lambda v: v["products"]["KSE"].pop("seats"), "lacks seats", id="no seats"),
        pytest.param(lambda v: v.update(lease=3600), "not an object", id="lease is a number"),
        pytest.param(lambda v: v["lease"].update(ttl=0), "ttl", id="lease of no length"),
        pytest.param(lambda v: v["lease"].update(ttl=90 * 86400 + 1), "ttl", id="lease over 90 days"),
        pytest.param(lambda v: v["lease"].update(renew_after=0), "renew_after", id="renewal at once"),
        pytest.param(lambda v: v["lease"].update(renew_after=3601), "renew_after", id="renewal after the end"),
        pytest.param(lambda v: v["lease"].update(overlap=-1), "overlap", id="overlap below zero"),
        pytest.param(lambda v: v["lease"].update(overlap=1001), "overlap", id="overlap of more than ten times"),
        pytest.param(lambda v: v["lease"].update(takeovers=True), "takeovers", id="takeovers are no number"),
        pytest.param(lambda v: v["lease"].update(grace=1), "unknown keys", id="unknown lease field"),
        pytest.param(lambda v: v.update(eligible_terms=["annual", "annual"]), "twice", id="term twice"),
        pytest.param(lambda v: v.update(eligible_terms="annual"), "not a list", id="terms is a text"),
        pytest.param(lambda v: v.update(forbidden_evidence=["nic"]), "knows only", id="unknown evidence"),
        pytest.param(lambda v: v.update(freshness_required=["trust"]), "knows only", id="unknown use"),
        pytest.param(lambda v: v.update(freshness_required=None), "not a list", id="freshness is null"),
        pytest.param(lambda v: v.update(max_years=0), "max_years", id="no year"),
        pytest.param(lambda v: v.update(max_years=101), "max_years", id="101 years"),
        pytest.param(lambda v: v.update(max_years=None), "max_years", id="years is null"),
        pytest.param(lambda v: v.update(forbidden_evidence=None), "not a list", id="evidence is null"),
    ],
)
def test_another_shape_is_malformed(edit: Callable[[dict[str, Any]], object], said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        read(edit)


def test_what_a_policy_does_not_say_of_leases_is_left_out_and_read_as_the_default() -> None:
    policy = read(lambda v: v["lease"].update(overlap=100, takeovers=10))

    assert default_policy() == policy
    assert {"ttl": 3600, "renew_after": 1200} == policy.to_dict()["lease"]
    assert {"ttl": 3600, "renew_after": 1200, "overlap": 0} == policy._replace(lease_overlap=0).to_dict()["lease"]


def test_renewal_may_be_as_late_as_the_end() -> None:
    assert read(lambda v: v["lease"].update(renew_after=3600)).lease_renew_after == 3600


def test_ten_years_are_not_written_so_that_older_clients_read_on() -> None:
    said = read(lambda v: v.update(max_years=10))
    assert default_policy() == said
    assert WRITTEN.encode() == dumps_compact(said.to_dict())
    assert 9 == read(lambda v: v.update(max_years=9)).to_dict()["max_years"]


def test_that_leases_need_a_fresh_bundle_is_not_written() -> None:
    assert WRITTEN.encode() == dumps_compact(read(lambda v: v.update(freshness_required=["lease"])).to_dict())
    assert [] == read(lambda v: v.update(freshness_required=[])).to_dict()["freshness_required"]
