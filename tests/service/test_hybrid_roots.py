"""Hybrid roots: made by `--hybrid`, added to issuers of before, and what neither half can do alone."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from databases import Ledger
from issuing import NOW, PASSPHRASE, cheap_scrypt, make_issuer
from keyseat_issuer.cli.steps import STEPS
from keyseat_issuer.keys.store import ROOT, KeyStore, PrivateKey
from keyseat_issuer.ledger.models import AuditEvent
from keyseat_issuer.server import creation
from keyseat_issuer.server.creation import Created
from keyseat_issuer.trust import admin as trust_admin
from keyseat_issuer.trust.admin import TrustAdmin
from keyseat_issuer.trust.draft import Draft
from keyseat_issuer.trust.history import current_trust
from keyseat_issuer.trust.proposals import Proposal
from keyseat_issuer.trust.root_rotation import Rotation
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, TrustError
from keyseat_shared.keys import ED25519, ML_DSA_65
from keyseat_shared.policy import default_policy
from keyseat_shared.trust import LEASE, TrustBundle

BOTH = (ED25519, ML_DSA_65)


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_scrypt(monkeypatch)


@pytest.fixture
def before(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Created:
    """A hybrid issuer as it was made before hybrid roots: with an Ed25519 root alone."""
    make = creation._make_root_keys

    def one(building: Path, roots: creation.RootPlan, passphrase: str, _: object, elsewhere: list[Path]) -> object:
        return make(building, roots, passphrase, (ED25519,), elsewhere)

    with monkeypatch.context() as patch:
        patch.setattr(creation, "_make_root_keys", one)
        return make_issuer(ledger.home / "vendor", hybrid=True)


def admin(home: Path) -> TrustAdmin:
    return TrustAdmin(home, PASSPHRASE, actor="test", now=NOW + timedelta(days=1))


def roots_of(issuer: Created) -> dict[str, PrivateKey]:
    store = KeyStore(issuer.home)
    opened = [store.open(key, PASSPHRASE) for key in issuer.trust.root]
    return {key.public.algorithm: key for key in opened if isinstance(key, PrivateKey)}


def test_a_hybrid_issuer_has_root_keys_of_both_and_each_alone_forges_nothing(ledger: Ledger) -> None:
    issuer = make_issuer(ledger.home / "vendor", hybrid=True)
    roots = roots_of(issuer)
    assert set(BOTH) == set(roots)
    forged = Draft.after(issuer.trust, NOW)._replace(signatures_required=(ED25519,))
    for algorithm in BOTH:
        for draft in (forged, forged._replace(root=(roots[algorithm].public,))):
            with pytest.raises(TrustError) as caught:
                issuer.trust.update(draft.sign([roots[algorithm]]))
            assert ReasonCode.TRUST_INVALID is caught.value.code
    agreed = issuer.trust.update(forged.sign([*roots.values()]))
    assert (ED25519,) == agreed.signatures_required


def test_a_pair_of_which_one_new_half_is_given_is_no_pair(ledger: Ledger) -> None:
    issuer = make_issuer(ledger.home / "vendor", hybrid=True)
    new = PrivateKey.generate(ED25519).public
    both = tuple([key.keyid for key in issuer.trust.root])
    with pytest.raises(KeyseatError, match=r"for 1 new root key\(s\) \(ml-dsa-65\)"):
        admin(issuer.home).rotate_root(Rotation(replace=both, given=(new,)))


def test_rotating_a_pair_replaces_both(ledger: Ledger) -> None:
    issuer = make_issuer(ledger.home / "vendor", hybrid=True)
    done = admin(issuer.home).rotate_root()
    newest = current_trust(issuer.home)
    assert (issuer.trust.root, newest.root) == (done.old, done.new)
    assert newest == issuer.trust.update(newest.data)
    # And again: a client that slept goes straight to the newest, by both former keys.
    admin(issuer.home).rotate_root()
    newest = current_trust(issuer.home)
    assert newest == issuer.trust.update(newest.data)


def test_a_hybrid_issuer_of_before_works_on_and_gets_its_root(before: Created) -> None:
    assert (ML_DSA_65,) == before.trust.algorithms_without_root()
    admin(before.home).add_key(LEASE)
    admin(before.home).rotate_root()
    plain = current_trust(before.home)
    assert [ED25519] == [key.algorithm for key in plain.root]
    done = admin(before.home).rotate_root(Rotation(hybrid=True))
    assert ((), [ML_DSA_65]) == (done.old, [key.algorithm for key in done.new])
    whole = current_trust(before.home)
    assert () == whole.algorithms_without_root()
    assert whole == before.trust.update(whole.data)
    (ed25519,) = [key for key in whole.root if key.algorithm == ED25519]
    forged = Draft.after(whole, NOW)._replace(signatures_required=(ED25519,), root=(ed25519,))
    thief = KeyStore(before.home).open(ed25519, PASSPHRASE)
    with pytest.raises(TrustError, match="0 of the present ml-dsa-65 root keys"):
        whole.update(forged.sign([thief]))
    with pytest.raises(KeyseatError, match="keys of both algorithms already"):
        admin(before.home).rotate_root(Rotation(hybrid=True))


def test_an_issuer_of_before_may_not_drop_what_no_root_key_could_agree_to(before: Created) -> None:
    with pytest.raises(KeyseatError, match="could agree to drop ml-dsa-65") as caught:
        admin(before.home).set_policy(before.trust.policy, (ED25519,))
    assert "trust rotate --hybrid" in STEPS.of(caught.value)
    admin(before.home).rotate_root(Rotation(hybrid=True))
    assert (ED25519,) == admin(before.home).set_policy(before.trust.policy, (ED25519,)).signatures_required


def test_a_lost_root_key_is_dropped_by_the_others(ledger: Ledger) -> None:
    issuer = several(ledger, 3, 2)
    lost = issuer.trust.root[0]
    for found in [*KeyStore(issuer.home).stored()]:
        if found.keyid == lost.keyid:
            found.path.unlink()
    desk = admin(issuer.home)
    with pytest.raises(KeyseatError, match="which one to replace"):
        desk.rotate_root()
    done = desk.rotate_root(Rotation(replace=(lost.keyid,), make=True))
    assert ((lost,), None) == (done.old, desk.pending)
    newest = current_trust(issuer.home)
    assert (lost in newest.root, 3, 2) == (False, len(newest.root), newest.threshold)
    assert newest == issuer.trust.update(newest.data)
    added = PrivateKey.generate(ED25519).public
    assert (added,) == admin(issuer.home).rotate_root(Rotation(given=(added,))).new
    newest = current_trust(issuer.home)
    assert (4, added) == (len(newest.root), newest.root[-1])
    with pytest.raises(KeyseatError, match="a threshold of 2 needs as many"):
        admin(issuer.home).rotate_root(Rotation(drop=tuple([key.keyid for key in newest.root[:3]])))


def several(ledger: Ledger, holders: int, threshold: int) -> Created:
    return creation.create_issuer(
        ledger.home / "vendor",
        vendor="Example Vendor",
        policy=default_policy(),
        passphrase=PASSPHRASE,
        actor="test",
        now=NOW,
        roots=creation.RootPlan(holders, threshold),
    )


def test_wrong_passphrases_are_told_and_leave_no_proposal(ledger: Ledger) -> None:
    issuer = several(ledger, 3, 2)
    desk = TrustAdmin(issuer.home, "not the passphrase", actor="test", now=NOW)
    with pytest.raises(KeyseatError, match="wrong passphrase"):
        desk.add_key(LEASE)
    assert not (issuer.home / "proposals").exists()


def test_a_change_with_more_signatures_than_a_file_holds_is_refused_before_it_is_made(ledger: Ledger) -> None:
    issuer = several(ledger, 6, 5)
    before = sorted((issuer.home / "keys").iterdir())
    everyone = tuple([key.keyid for key in issuer.trust.root])
    with pytest.raises(KeyseatError, match="takes 10 signatures") as caught:
        admin(issuer.home).rotate_root(Rotation(replace=everyone, make=True))
    assert ReasonCode.INVALID_INPUT is caught.value.code
    assert before == sorted((issuer.home / "keys").iterdir())
    assert 3 == len(admin(issuer.home).rotate_root(Rotation(replace=everyone[:3], make=True)).new)


def test_an_adopted_proposal_that_crashed_is_finished(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = several(ledger, 2, 2)
    desk = TrustAdmin(issuer.home, PASSPHRASE, actor="test", now=NOW)
    store = KeyStore(issuer.home)
    proposal = Proposal(issuer.trust, Draft.after(issuer.trust, NOW).payload())
    proposal = proposal.sign([store.open(key, PASSPHRASE) for key in issuer.trust.root])

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trust_admin, "write_private", crash)
        with pytest.raises(KeyboardInterrupt):
            desk.adopt([proposal])
    assert 2 == current_trust(issuer.home).version


def test_a_proposal_that_is_given_up_leaves_a_key_that_signs_nothing(ledger: Ledger) -> None:
    issuer = make_issuer(ledger.home / "vendor")
    root = next(found for found in KeyStore(issuer.home).stored() if found.purpose == ROOT)
    root.path.unlink()
    desk = TrustAdmin(issuer.home, PASSPHRASE, actor="test", now=NOW, proposal=ledger.home / "change.json")
    entry = desk.add_key(LEASE)
    assert desk.pending is not None
    assert issuer.trust == current_trust(issuer.home)
    newest = AuditEvent.objects.order_by("-seq").first()
    assert newest is not None
    assert ("trust.proposed", entry.key.keyid) == (newest.action, newest.subject)
    assert desk.pending.proposal.digest == json.loads(newest.details)["digest"]
    assert entry.key not in {key.key for key in TrustBundle.load(issuer.home / "trust.json").keys}
