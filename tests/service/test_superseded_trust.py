"""Nothing is issued under a trust bundle that was replaced meanwhile: not even between the last look and the commit."""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest

import offline_shop
import shop
from databases import Ledger, close_all
from issuing import NOW, PASSPHRASE, cheap_scrypt, make_issuer
from keyseat_issuer.checks import check
from keyseat_issuer.keys.signing import open_license_signer
from keyseat_issuer.ledger.models import Allocation, OfflineLicense
from keyseat_issuer.ledger.offline import licenses
from keyseat_issuer.ledger.offline.conversion import convert
from keyseat_issuer.ledger.offline.values import Terms
from keyseat_issuer.server.creation import Created
from keyseat_issuer.trust.admin import TrustAdmin
from keyseat_issuer.trust.history import current_trust
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.trust import TrustBundle

LATER = NOW + timedelta(hours=1)
Change = Callable[[TrustAdmin, TrustBundle], object]


@pytest.fixture
def issuer(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Created:
    """An issuer with a customer."""
    cheap_scrypt(monkeypatch)
    made = make_issuer(ledger.home / "vendor")
    offline_shop.customer()
    return made


def terms(issuer: Created) -> Terms:
    """Return the terms as they stand."""
    trust = current_trust(issuer.home)
    return Terms(trust, shop.ACTOR, LATER, open_license_signer(issuer.home, trust, PASSPHRASE, LATER))


def set_sunset(desk: TrustAdmin, trust: TrustBundle) -> object:
    """End offline generation before now."""
    return desk.set_policy(trust.policy._replace(sunset=NOW))


def revoke(desk: TrustAdmin, trust: TrustBundle) -> object:
    """Revoke the licence key."""
    return desk.revoke_key(next(entry.key.keyid for entry in trust.keys if entry.purpose == "license"))


def meanwhile(issuer: Created, change: Change) -> None:
    """Change the bundle over a connection of one's own."""

    def act() -> None:
        try:
            change(TrustAdmin(issuer.home, PASSPHRASE, actor="somebody else", now=LATER), issuer.trust)
        finally:
            close_all()

    other = Thread(target=act)
    other.start()
    other.join(60)


def require_nothing_issued() -> None:
    assert (0, 0) == (OfflineLicense.objects.count(), Allocation.objects.count())
    assert () == check.verify().findings


@pytest.mark.parametrize("change", [set_sunset, revoke])
def test_after_the_last_look_at_the_rules_a_change_stops_the_licence(issuer: Created, change: Change) -> None:
    read = terms(issuer)
    meanwhile(issuer, change)

    with pytest.raises(KeyseatError, match="changed at the same time") as caught:
        licenses.issue(offline_shop.request(), read)

    assert ReasonCode.TRUST_ROLLBACK is caught.value.code
    assert "version 2" in caught.value.next_step
    require_nothing_issued()


# SQLite lets nobody else write while a licence is being issued.
@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
@pytest.mark.parametrize("change", [set_sunset, revoke])
def test_even_between_deciding_and_the_commit(issuer: Created, change: Change) -> None:
    def sign_slowly(items: Iterable[Any], _label: str, _total: int | None = None) -> Iterator[Any]:
        meanwhile(issuer, change)
        yield from items

    with pytest.raises(KeyseatError, match="changed at the same time"):
        convert([offline_shop.request()], terms(issuer), progress=sign_slowly)

    assert 2 == current_trust(issuer.home).version
    require_nothing_issued()


def test_done_again_it_is_done_under_the_new_rules(issuer: Created) -> None:
    read = terms(issuer)
    meanwhile(issuer, lambda desk, trust: desk.set_policy(trust.policy._replace(sunset=None)))
    with pytest.raises(KeyseatError):
        licenses.issue(offline_shop.request(), read)

    licenses.issue(offline_shop.request(), terms(issuer))

    assert 1 == OfflineLicense.objects.count()
