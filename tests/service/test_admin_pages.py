"""Lists of the administration API, read page by page over real HTTP: everything once, while rows come and go."""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

import offline_shop
import shop
from activation import problem
from administration import Office, administered, found, key_with
from databases import Ledger
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import invitations, members
from keyseat_issuer.ledger.models import ApiKey, Invitation, Lease, Membership, OfflineLicense, Organization, Role
from offline_shop import numbered_machine

pytestmark = pytest.mark.both_databases  # the order of a list, and where a page of it begins, is the database's

MANY = 25
PEOPLE = [f"user{number:03}@example.com" for number in range(MANY)]


def fill(customer: Organization) -> None:
    """Give an organisation many of everything; many of it at one instant, which no order may depend on."""
    members.add_members(customer, PEOPLE, Role.MEMBER, actor="test", now=shop.NOW)
    shop.assign(customer, "KSE", *PEOPLE[::2])
    for number, email in enumerate(PEOPLE[1::2]):
        offline_shop.issue(machine_id=numbered_machine(number), user=email)
    for number in range(7):
        offline_shop.issue("KRE", machine_id=numbered_machine(number))
    [pool] = [pool for bought in customer.subscriptions.all() for pool in bought.pools.filter(product="KSE")]
    Lease.objects.bulk_create(
        [
            Lease(
                id=uuid4(),
                pool=pool,
                organization=customer,
                product="KSE",
                holder=email,
                email=email,
                machine_id=numbered_machine(100 + number),
                seats=0,
                started_at=shop.NOW - timedelta(seconds=number // 4),
                renewed_at=shop.NOW,
                expires_at=shop.NOW + timedelta(hours=1),
            )
            for number, email in enumerate(PEOPLE)
        ]
    )
    invited = [f"guest{number}@example.org" for number in range(MANY)]
    invitations.invite(customer, invited, Role.MEMBER, with_account=lambda _: set(), actor="test", now=shop.NOW)
    for _ in range(MANY):
        key_with(customer, "sessions")


@pytest.fixture
def office(ledger: Ledger) -> Iterator[Office]:
    customer = found(kse=60, kre=60)
    fill(customer)
    foreign = found("Another Organisation")
    shop.assign(foreign, "KSE", "ada@example.com")
    with administered(customer) as running:
        yield running


LISTS: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "/members": ("members", lambda entry: entry["id"]),
    "/members?licensed=false": ("members", lambda entry: entry["id"]),
    "/invitations": ("invitations", lambda entry: entry["id"]),
    "/seats": ("seats", lambda entry: (entry["kind"], entry["product"], entry["holder"])),
    "/seats?product=KSE": ("seats", lambda entry: (entry["kind"], entry["product"], entry["holder"])),
    "/sessions": ("sessions", lambda entry: entry["session_id"]),
    "/sessions?product=KSE": ("sessions", lambda entry: entry["session_id"]),
    "/offline-licenses": ("licenses", lambda entry: entry["license_id"]),
    "/offline-licenses?product=KRE": ("licenses", lambda entry: entry["license_id"]),
    "/machines": ("machines", lambda entry: entry["machine_id"]),
    "/audit": ("events", lambda entry: entry["seq"]),
    "/api-keys": ("api_keys", lambda entry: entry["id"]),
}


def link(path: str, **more: object) -> str:
    return path + ("&" if "?" in path else "?") + "&".join(f"{name}={value}" for name, value in more.items())


def pages(office: Office, path: str, limit: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the pages of a list, each asked for when the one before was read."""
    answer = office.get(link(path, limit=limit))
    while True:
        yield answer[LISTS[path][0]]
        if answer["next"] is None:
            return
        answer = office.get(link(path, limit=limit, cursor=answer["next"]))


def test_every_list_is_the_same_whole_and_in_pages_of_any_size(office: Office) -> None:
    for path, (name, identity) in LISTS.items():
        answer = office.get(link(path, limit=500))
        whole = [identity(entry) for entry in answer[name]]
        assert answer["next"] is None
        assert len(whole) == len(set(whole)) > 4, path
        for limit in (1, 7, len(whole) - 1, len(whole)):
            read = list(pages(office, path, limit))
            assert whole == [identity(entry) for page in read for entry in page], (path, limit)
            assert all(len(page) == limit for page in read[:-1])
            assert read[-1]
        assert len(office.get(path)[name]) == min(100, len(whole))


def test_lists_are_in_the_order_that_is_told(office: Office) -> None:
    def column(path: str, name: str) -> list[Any]:
        return [entry[name] for page in pages(office, path, 4) for entry in page]

    assert ["owner", "admin", "billing", "member"] == list(dict.fromkeys(column("/members", "role")))
    assert column("/invitations", "email") == sorted(column("/invitations", "email"))
    assert column("/machines", "machine_id") == sorted(column("/machines", "machine_id"))
    assert column("/sessions", "started_at") == sorted(column("/sessions", "started_at"), reverse=True)
    assert column("/offline-licenses", "expires_at") == sorted(column("/offline-licenses", "expires_at"))
    assert column("/audit", "seq") == sorted(column("/audit", "seq"), reverse=True)
    assert ["named", "offline", "online"] == list(dict.fromkeys(column("/seats?product=KSE", "kind")))


def remove_shown(path: str, entry: dict[str, Any]) -> None:
    """Take a row out of a list."""
    pk = UUID(entry["id"]) if "id" in entry else None
    if path == "/members":
        Membership.objects.filter(pk=pk).exclude(role=Role.OWNER).delete()  # who reads stays
    elif path == "/invitations":
        Invitation.objects.filter(pk=pk).update(accepted_at=shop.NOW)
    else:
        Lease.objects.filter(pk=UUID(entry["session_id"])).update(ended_at=shop.NOW, ending="FORCED")


@pytest.mark.parametrize("path", ["/members", "/invitations", "/sessions"])
def test_rows_that_go_while_somebody_reads_move_no_others(office: Office, path: str) -> None:
    name, identity = LISTS[path]
    whole = [identity(entry) for entry in office.get(link(path, limit=500))[name]]

    read = []
    for page in pages(office, path, 5):
        read += [identity(entry) for entry in page]
        for entry in page:  # the last one, which the cursor names, too
            remove_shown(path, entry)

    assert whole == read


def test_an_event_that_is_added_meanwhile_is_not_met_twice(office: Office) -> None:
    whole = [event["seq"] for event in office.get("/audit?limit=500")["events"]]

    read = []
    for page in pages(office, "/audit", 9):
        read += [event["seq"] for event in page]
        key_with(office.organization, "sessions")

    assert whole == read


def encoded(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


BAD = [
    "x",
    "____",
    encoded([]),
    encoded({}),
    encoded(["members"]),
    encoded(["members", 0]),
    encoded(["members", "0", "a"]),
    encoded(["members", True, "a"]),
    encoded(["members", 2**80, "a"]),
    encoded(["members", 0, "a\0b"]),
    encoded(["members", 0, "\ud800"]),
    encoded(["members", 0, 7]),
    encoded(["sessions", "2023-06-01T12:00:00", str(uuid4())]),
    encoded(["sessions", "2023-06-01T12:00:00+00:00", "1"]),
    encoded(["sessions", "yesterday", str(uuid4())]),
    encoded(["sessions", None, str(uuid4())]),
    encoded(["sessions", "9999-12-31T23:59:59-23:00", str(uuid4())]),
    encoded(["audit", -1.5]),
    encoded(["online", "KSE", "a"]),
    base64.urlsafe_b64encode(b"[" * 1400).decode().rstrip("="),
]


def test_what_is_no_cursor_of_a_list_is_refused_and_never_a_fault_of_the_server(office: Office) -> None:
    for path in LISTS:
        for cursor in BAD:
            answer = office.call("GET", link(path, cursor=cursor))
            assert (422, "INVALID_INPUT", None) == problem(answer), (path, cursor)
    assert "without a cursor" in office.call("GET", "/members?cursor=x").json()["next"]
    assert 422 == office.call("GET", link("/sessions", cursor=office.get("/members?limit=1")["next"])).status_code


@pytest.mark.parametrize("limit", [0, -1, 501, "many"])
def test_a_page_has_1_to_500_entries(office: Office, limit: object) -> None:
    assert {422} == {office.call("GET", link(path, limit=limit)).status_code for path in LISTS}


def test_a_cursor_leads_into_no_other_organisation(office: Office) -> None:
    foreign = Organization.objects.get(name="Another Organisation")
    start = encoded(["members", -1, ""])

    listed = office.get(link("/members", cursor=start, limit=500))["members"]

    assert len(listed) == Membership.objects.filter(organization=office.organization).count()
    assert Membership.objects.filter(organization=foreign).exists()
    assert (OfflineLicense.objects.count(), ApiKey.objects.count()) == (19, MANY)
    assert log.recent(1)
