"""The service against its own description: calls made from ``/openapi.json`` meet no 5xx and nothing undocumented."""

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import offline_shop
import shop
from activation import make_key
from administration import ADA, BOB, EVE, Office, administered, found
from databases import Ledger
from keyseat_issuer.api.roles import MATRIX
from keyseat_issuer.ledger.customers import invitations
from keyseat_issuer.ledger.models import ApiKey, Invitation, Role
from keyseat_issuer.web.accounts import with_account
from vendor import MACHINE

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
NEED_MORE = {"offline_issue", "ownership_transfer", "seat_transfer", "sessions_renew"}
"""Operations that no generated call satisfies (a token from a preview, a member who is no owner, …)."""

EXAMPLES = 12
SEED = 20240117


@dataclass
class Try:
    """A running service with something of everything, and the ids of those things."""

    office: Office
    known: dict[str, Any]
    key: str


@pytest.fixture
def everything(ledger: Ledger) -> Iterator[Try]:
    customer = found(kse=50, kre=50)
    shop.assign(customer, "KSE", ADA)
    shop.assign(customer, "KRE", ADA)
    license_ = offline_shop.issue("KRE")
    key = make_key(customer)
    invitations.invite(customer, [EVE], Role.MEMBER, with_account=with_account, actor="test", now=shop.NOW)
    with administered(customer) as office:
        session = office.site.acquire(key=key).json()["session_id"]
        known = {
            "organization_id": str(customer.pk),
            "organization": str(customer.pk),
            "product": "KRE",
            "machine_id": str(MACHINE),
            "emails": [ADA, BOB],
            "from_email": ADA,
            "to_email": BOB,
            "scopes": ["sessions"],
            "expires_at": "2023-12-31",
            "member_id": office.member(BOB),
            "license_id": str(license_.license_id),
            "session_id": session,
            "session_ids": [session],
            "invitation_id": str(Invitation.objects.get().pk),
            "version": 1,
            "key_id": str(ApiKey.objects.get().pk),
        }
        yield Try(office, known, key)


def steer(case: Case, known: dict[str, Any], chance: random.Random) -> None:
    """Put things that exist in place of most made-up ones: calls that name nothing never get far."""
    body = case.body if isinstance(case.body, dict) else {}
    for part in (case.path_parameters or {}, body):
        for name in part:
            if name in known and chance.random() < 0.8:
                part[name] = known[name]
    if chance.random() < 0.3:
        body.pop("user", None)


def try_out(site: Try, operation: Any, name: str, mode: GenerationMode) -> set[int]:  # noqa: ANN401 - schemathesis' own
    """Make calls of one operation, check the answers, and return the statuses met."""
    token = site.key if MATRIX[name].key_scope == "sessions" else "owner"
    headers = {"Authorization": f"Bearer {token}"} if MATRIX[name].roles else {}
    chance = random.Random(SEED)
    statuses = set()

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def call(case: Case) -> None:
        if mode is GenerationMode.POSITIVE:
            steer(case, site.known, chance)
        answer = case.call(headers=headers)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    with contextlib.suppress(Unsatisfiable):  # nothing about a call without parameters can be wrong
        call()
    return statuses


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_call_meets_a_server_error_or_an_undocumented_answer(everything: Try, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{everything.office.site.url}/openapi.json")
    operations = {found.ok().definition.raw["operationId"]: found.ok() for found in schema.get_all_operations()}
    # What ends things comes last.
    order = sorted(operations, key=lambda name: name.rpartition("_")[2] in {"remove", "revoke", "withdraw", "transfer"})

    statuses = {name: try_out(everything, operations[name], name, mode) for name in order}

    assert set(MATRIX) == set(statuses)
    reached = {name for name, met in statuses.items() if met & {200, 201, 204}}
    if mode is GenerationMode.POSITIVE:
        assert not [name for name, met in statuses.items() if met & {401, 405}]
        assert NEED_MORE == set(MATRIX) - reached
    else:
        assert {400, 422} <= set().union(*statuses.values())
