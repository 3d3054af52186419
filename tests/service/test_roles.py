"""The table of roles: every route of the service, asked by everybody, in one's own organisation and in another."""

import asyncio
import uuid
from collections.abc import Iterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from activation import make_key
from administration import Office, administered, expected, found, key_with
from databases import Ledger
from keyseat_issuer.api import roles
from keyseat_issuer.api.admin.access import access_of
from keyseat_issuer.api.roles import ANY_SCOPE, MATRIX, Reach, check_routes, rule_of
from keyseat_issuer.api.routing import CallerDep, caller_of
from keyseat_issuer.api.service import Service
from keyseat_issuer.ledger.customers import api_keys
from keyseat_issuer.ledger.models import Organization, Role
from keyseat_issuer.server.app import ROUTERS, create_app
from keyseat_shared.errors import KeyseatError
from service_program import VendorTrust
from vendor import OTHER_MACHINE, Vendor

WHO = (
    "owner",
    "admin",
    "billing",
    "ada",
    "eve",
    "owner-sessions",
    "owner-admin",
    "owner-unproved",
    "key+",
    "key-",
    "nobody",
)
OPERATION = {"healthz", "readyz", "metrics"}


NOTHING = {
    "product": "KSE",
    "machine_id": str(OTHER_MACHINE),
    "version": "7",
    **dict.fromkeys(
        ("member_id", "invitation_id", "session_id", "license_id", "key_id"), "01890a5d-ac96-774b-bcce-b302099a8057"
    ),
}
"""Path parameters that name nothing: whoever is let in changes nothing."""


def paths_of(office: Office) -> dict[str, tuple[str, str]]:
    """Return method and path of every route, as the service describes them itself."""
    document = office.site.call("GET", "/openapi.json", key="").json()
    return {
        entry["operationId"]: (method.upper(), path)
        for path, entries in document["paths"].items()
        for method, entry in entries.items()
    }


@pytest.fixture
def office(ledger: Ledger) -> Iterator[Office]:
    with administered(found()) as running:
        yield running


def let_in(answer: httpx.Response) -> bool:
    """Tell whether a caller got past the door; what the call then did is told by other tests."""
    if answer.status_code < 400:
        return True
    problem = answer.json()
    if answer.status_code == 401:
        return False
    outside = problem["code"] == "NOT_FOUND" and problem["detail"] == "you have no such organisation"
    return problem["code"] != "NOT_ALLOWED" and not outside


class Keys:
    """The token of each caller: people's are their names; API keys have one scope, or all the others."""

    def __init__(self, organization: Organization) -> None:
        self._made = {scope: key_with(organization, scope) for scope in api_keys.SCOPES}
        self._others = {
            scope: key_with(organization, *[other for other in api_keys.SCOPES if other != scope])
            for scope in api_keys.SCOPES
        }
        self._all = key_with(organization, *api_keys.SCOPES)

    def token(self, who: str, scope: str | None) -> str:
        """Return the token of a caller who asks for something that needs this scope."""
        if who == "nobody":
            return ""
        if who not in {"key+", "key-"}:
            return who
        return (self._made if who == "key+" else self._others).get(scope or "", self._all)


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
class TestEveryRoute:
    def test_lets_in_whom_the_table_names_and_nobody_else(self, office: Office) -> None:
        foreign = found("Another Organisation")
        foreign.memberships.all().delete()
        places = {"own": office.organization, "foreign": foreign}
        paths = paths_of(office)
        keys = Keys(office.organization)

        def ask(name: str, who: str, organization: Organization) -> bool:
            method, template = paths[name]
            path = template.format(organization_id=organization.pk, **NOTHING)
            body = None if method in {"GET", "DELETE"} else {}
            return let_in(office.site.call(method, path, body, key=keys.token(who, MATRIX[name].key_scope)))

        cases = [
            (name, who, place)
            for name in MATRIX
            for who in WHO
            for place in (places if MATRIX[name].reach is Reach.ORGANIZATION else ["own"])
        ]

        assert {case: expected(case[0], case[1], own=case[2] == "own") for case in cases} == {
            case: ask(case[0], case[1], places[case[2]]) for case in cases
        }

    def test_of_another_organisation_looks_like_one_that_does_not_exist(self, office: Office) -> None:
        foreign = found("Another Organisation")
        foreign.memberships.all().delete()

        answers = [
            office.call("GET", "/members", of=foreign),
            office.call("GET", "/members", of=Organization(pk=uuid.UUID(int=7))),
            office.call("GET", "/members", of=foreign, who=make_key(office.organization, "members:read")),
        ]

        assert {404} == {answer.status_code for answer in answers}
        assert 1 == len({answer.json()["detail"] for answer in answers})

    def test_is_in_the_table_once(self, office: Office) -> None:
        assert set(MATRIX) == set(paths_of(office))


class TestTheTable:
    def names(self, role: Role) -> set[str]:
        return {name for name, rule in MATRIX.items() if rule.reach is Reach.ORGANIZATION and role in rule.roles}

    def test_gives_members_their_own_seat_only(self) -> None:
        assert {"organization_get", "own_seat_get"} == self.names(Role.MEMBER)

    def test_shows_billing_managers_the_subscriptions_and_nothing_else(self) -> None:
        assert {"organization_get", "own_seat_get", "subscriptions_list"} == self.names(Role.BILLING)

    def test_keeps_only_the_hand_over_of_ownership_from_admins(self) -> None:
        assert {"ownership_transfer"} == self.names(Role.OWNER) - self.names(Role.ADMIN)

    def test_lets_owners_do_everything_in_their_organisation(self) -> None:
        assert {name for name, rule in MATRIX.items() if rule.reach is Reach.ORGANIZATION} == self.names(Role.OWNER)

    def test_names_only_scopes_that_keys_can_have(self) -> None:
        assert {rule.key_scope for rule in MATRIX.values()} <= {*api_keys.SCOPES, ANY_SCOPE, None}

    def test_leaves_no_scope_without_a_use(self) -> None:
        assert set(api_keys.SCOPES) <= {rule.key_scope for rule in MATRIX.values()}

    def test_opens_nothing_but_trust_and_operation(self) -> None:
        opened = {name for name, rule in MATRIX.items() if rule.reach is Reach.OPEN}
        assert OPERATION | {"trust_get", "trust_version_get"} == opened

    def test_denies_what_it_does_not_hold(self) -> None:
        with pytest.raises(KeyseatError, match="nobody may do this"):
            rule_of("made_up")


def api_with(name: str | None, path: str, *, asks: bool = True) -> FastAPI:
    """Return an API with one route."""
    router = APIRouter()
    if asks:

        @router.get(path, operation_id=name)
        async def asking(_caller: CallerDep) -> None: ...

    else:

        @router.get(path, operation_id=name)
        async def open_to_all() -> None: ...

    api = FastAPI(docs_url=None, redoc_url=None)
    api.include_router(router)
    return api


class TestStarting:
    @pytest.fixture(autouse=True)
    def _small_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(roles, "MATRIX", {"members_list": MATRIX["members_list"]})

    def check(self, api: FastAPI) -> None:
        check_routes(api, (caller_of, access_of))

    def test_is_fine_where_routes_and_table_agree(self) -> None:
        self.check(api_with("members_list", "/{organization_id}/members"))

    def test_fails_for_a_route_that_is_not_in_the_table(self) -> None:
        api = api_with("members_list", "/{organization_id}/members")
        api.include_router(api_with("new_route", "/new").router)

        with pytest.raises(RuntimeError, match="new_route is not in the table"):
            self.check(api)

    def test_fails_for_a_route_without_a_name(self) -> None:
        with pytest.raises(RuntimeError, match="/nameless is not in the table"):
            self.check(api_with(None, "/nameless"))

    def test_fails_for_a_row_that_no_route_has(self) -> None:
        with pytest.raises(RuntimeError, match="members_list is in the table and nowhere else"):
            self.check(FastAPI(docs_url=None, redoc_url=None))

    def test_fails_for_a_route_that_asks_nobody_who_calls(self) -> None:
        with pytest.raises(RuntimeError, match="members_list asks nobody who calls"):
            self.check(api_with("members_list", "/{organization_id}/members", asks=False))

    def test_fails_for_an_organisations_route_that_names_none(self) -> None:
        with pytest.raises(RuntimeError, match="members_list names no organisation"):
            self.check(api_with("members_list", "/members"))

    def test_fails_for_what_is_no_route_of_the_api(self) -> None:
        api = api_with("members_list", "/{organization_id}/members")
        api.mount("/files", FastAPI())

        with pytest.raises(RuntimeError, match="is no route of the API"):
            self.check(api)


def test_the_service_does_not_start_with_an_unlisted_route() -> None:
    router = APIRouter()

    @router.get("/api/v1/surprise", operation_id="surprise")
    async def surprise(_caller: CallerDep) -> None: ...

    async def start() -> None:
        service = Service(VendorTrust(Vendor()))
        try:
            create_app(service, routers=(*ROUTERS, router))
        finally:
            await service.close()

    with pytest.raises(RuntimeError, match="surprise is not in the table"):
        asyncio.run(start())
