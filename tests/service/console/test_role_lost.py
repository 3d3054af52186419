"""What outlasts its maker is refused to one who lost the role between the door and the act."""

import re
from collections.abc import Callable
from datetime import datetime

import pytest

import shop
from administration import ADA, ADMIN, OWNER
from console_site import Desk
from keyseat_issuer.console import visits
from keyseat_issuer.ledger.customers import members
from keyseat_issuer.ledger.models import ApiKey, AuditEvent, OfflineLicense, Organization, Role
from vendor import MACHINE

_TOKEN = re.compile(r'name="confirmation" value="([^"]+)"')
LOST = {
    "removed": lambda org: members.remove_member(org, ADMIN, actor=f"user:{OWNER}", now=shop.NOW),
    "demoted": lambda org: members.set_role(org, ADMIN, Role.BILLING, actor=f"user:{OWNER}", now=shop.NOW),
}


@pytest.fixture(params=list(LOST))
def lose(request: pytest.FixtureRequest, org: Organization, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have the admin lose the role as soon as the next page has let them in."""

    def at_the_door() -> datetime:
        monkeypatch.undo()
        LOST[request.param](org)
        return shop.NOW

    return lambda: monkeypatch.setattr(visits, "now_utc", at_the_door)


@pytest.mark.both_databases
def test_no_api_key_is_made(org: Organization, lose: Callable[[], None]) -> None:
    desk = Desk(ADMIN, org)
    desk.post("/account/confirm", {"password": "correct horse battery staple"})
    lose()

    shown = desk.post("api-keys/new", {"name": "mine", "scopes": ["members:write"]}, page="/account/password")

    assert (409, False) == (shown.status, ApiKey.objects.exists())
    last = AuditEvent.objects.order_by("-seq")[0]
    assert ("api-key.created.refused", f"user:{ADMIN}") == (last.action, last.actor)


@pytest.mark.both_databases
def test_no_offline_licence_is_issued(org: Organization, lose: Callable[[], None]) -> None:
    desk = Desk(ADMIN, org)
    typed: dict[str, object] = {"machine_id": str(MACHINE), "user": ADA}
    [token] = _TOKEN.findall(desk.post("licenses/KSE/offline/new", typed).html)
    lose()

    form = typed | {"confirmation": token, "read": "yes"}
    shown = desk.post("licenses/KSE/offline/issue", form, page="/account/password")

    assert (409, False) == (shown.status, OfflineLicense.objects.exists())
    assert "keyseat-issuer" not in shown.text
