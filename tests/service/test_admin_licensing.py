"""The licence keys in a service: unlocked once, followed through a rotation, and only where it was asked for."""

from datetime import timedelta
from pathlib import Path

import pytest

import offline_shop
import shop
from databases import Ledger
from issuing import NOW, PASSPHRASE, cheap_scrypt, make_issuer
from keyseat_issuer.api.licensing import LicenseKeys
from keyseat_issuer.home import load_trust
from keyseat_issuer.ledger.models import Organization
from keyseat_issuer.ledger.offline import confirmations
from keyseat_issuer.trust.admin import TrustAdmin
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import Envelope
from keyseat_shared.errors import KeyseatError
from keyseat_shared.trust import LICENSE
from keyseat_verifier.verify.verifier import Verifier
from vendor import MACHINE, Vendor

ACTOR = "user:owner@example.com"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_scrypt(monkeypatch)


@pytest.fixture
def home(ledger: Ledger) -> Path:
    return make_issuer(ledger.home / "vendor").home


@pytest.fixture
def customer(home: Path) -> Organization:
    return offline_shop.customer()


def issue(customer: Organization, keys: LicenseKeys, *, days: int = 0) -> bytes:
    """Preview and confirm a floating licence."""
    terms = keys.terms(ACTOR, NOW + timedelta(days=days))
    shown = confirmations.preview(customer, offline_shop.request("KRE"), terms)
    return confirmations.confirm(customer, shown.token, terms).file


@pytest.mark.both_databases
def test_a_service_with_the_keys_issues_what_clients_accept(home: Path, customer: Organization) -> None:
    file = issue(customer, LicenseKeys(home, PASSPHRASE, NOW))

    license_ = Verifier(load_trust(home), product="KRE").verify(file, machine=MACHINE, now=shop.NOW)
    assert str(MACHINE) == license_.machine_id


def test_a_key_that_was_retired_signs_nothing_more(home: Path, customer: Organization) -> None:
    keys = LicenseKeys(home, PASSPHRASE, NOW)
    before = Envelope.from_bytes(issue(customer, keys)).signatures[0].keyid
    admin = TrustAdmin(home, passphrase=PASSPHRASE, actor="test", now=NOW + timedelta(days=1))
    added = admin.add_key(LICENSE).key.keyid
    admin.retire_key(before)

    file = issue(customer, keys, days=2)

    assert added == Envelope.from_bytes(file).signatures[0].keyid
    Verifier(load_trust(home), product="KRE").verify(file, machine=MACHINE, now=NOW + timedelta(days=2))


def test_a_wrong_passphrase_is_told_at_the_start(home: Path) -> None:
    with pytest.raises(KeyseatError, match="passphrase") as caught:
        LicenseKeys(home, "not this one", NOW)

    assert ReasonCode.KEY_UNAVAILABLE is caught.value.code


def test_a_bundle_that_the_ledger_does_not_know_issues_nothing(home: Path, customer: Organization) -> None:
    keys = LicenseKeys(home, PASSPHRASE, NOW)
    (home / "trust.json").write_bytes(Vendor().bundle_bytes())

    with pytest.raises(KeyseatError) as caught:
        keys.terms(ACTOR, NOW)

    assert ReasonCode.TRUST_INVALID is caught.value.code
