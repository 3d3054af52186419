"""Changing the trust bundle: signed, audited, followed by clients, and whole after a crash at any point."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from databases import Ledger
from issuing import NOW, PASSPHRASE, cheap_scrypt, make_issuer
from keyseat_issuer.cli.steps import STEPS
from keyseat_issuer.home import load_trust
from keyseat_issuer.keys.signing import open_license_signer
from keyseat_issuer.keys.store import KeyStore
from keyseat_issuer.ledger.audit.bundles import history
from keyseat_issuer.server.creation import Created
from keyseat_issuer.trust import admin as trust_admin
from keyseat_issuer.trust.admin import TrustAdmin
from keyseat_issuer.trust.draft import Draft, find_key
from keyseat_issuer.trust.history import current_trust, read_version
from keyseat_issuer.trust.root_rotation import Rotation
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, TrustError
from keyseat_shared.keys import ED25519, ML_DSA_65
from keyseat_shared.trust import COMPROMISED, LEASE, LICENSE, RETIRED, TrustBundle


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_scrypt(monkeypatch)


@pytest.fixture
def issuer(ledger: Ledger) -> Created:
    """An issuer whose ledger is the test's."""
    return make_issuer(ledger.home / "vendor")


def admin(home: Path, **options: object) -> TrustAdmin:
    given = {"passphrase": PASSPHRASE, "actor": "test", "now": NOW + timedelta(days=1)} | options
    return TrustAdmin(home, **given)


def versions_on_record() -> list[int]:
    return [0 if row.entry is None else row.entry.version for row in history()]


def test_a_new_key_signs_from_now_and_is_in_the_next_version(issuer: Created) -> None:
    entry = admin(issuer.home).add_key(LICENSE)
    trust = current_trust(issuer.home)
    assert (2, entry) == (trust.version, trust.keys[-1])
    assert NOW + timedelta(days=1) == entry.valid_from
    signer = open_license_signer(issuer.home, trust, PASSPHRASE, NOW + timedelta(days=2))
    assert (entry.key.keyid,) == signer.keyids
    assert trust.data == read_version(issuer.home, 2)
    assert issuer.trust.data == read_version(issuer.home, 1)
    assert [1, 2] == versions_on_record()


def test_windows_are_five_years_for_licences_one_for_leases_or_as_asked(issuer: Created) -> None:
    desk = admin(issuer.home)
    days = [
        (entry.valid_until - entry.valid_from).days
        for entry in (desk.add_key(LICENSE), desk.add_key(LEASE), desk.add_key(LEASE, days=30))
    ]
    assert [1826, 365, 30] == days


class TestFreshness:
    def test_each_version_is_fresh_for_as_long_as_the_one_before(self, issuer: Created) -> None:
        assert issuer.trust.fresh_until is None
        first = admin(issuer.home).renew(90)
        day = NOW + timedelta(days=1)
        assert (2, day, day + timedelta(days=90)) == (first.version, first.issued_at, first.fresh_until)

        later = NOW + timedelta(days=60)
        admin(issuer.home, now=later).add_key(LEASE)
        assert later + timedelta(days=90) == current_trust(issuer.home).fresh_until
        again = admin(issuer.home, now=later + timedelta(days=1)).renew()
        assert later + timedelta(days=91) == again.fresh_until
        assert (first.keys, first.policy) == (again.keys[:2], again.policy)
        assert None is admin(issuer.home, now=later + timedelta(days=1)).renew(never_stale=True).fresh_until
        assert [1, 2, 3, 4, 5] == versions_on_record()

    def test_without_a_length_there_is_nothing_to_renew(self, issuer: Created) -> None:
        for given in ({}, {"never_stale": True}):
            with pytest.raises(KeyseatError, match="never gets stale") as caught:
                admin(issuer.home).renew(**given)
            assert "--fresh-days" in STEPS.of(caught.value)
        assert 1 == current_trust(issuer.home).version

    def test_no_length_reaches_beyond_the_calendar(self, issuer: Created) -> None:
        with pytest.raises(KeyseatError, match="beyond the year 9999"):
            admin(issuer.home).renew(10**7)


def test_retired_and_revoked_are_told_apart(issuer: Created) -> None:
    keyid = issuer.trust.keys[0].key.keyid
    assert RETIRED == admin(issuer.home).retire_key(keyid[:8]).status
    assert COMPROMISED == admin(issuer.home).revoke_key(keyid).status
    with pytest.raises(KeyseatError) as caught:
        admin(issuer.home).retire_key(keyid)
    assert ReasonCode.ALREADY_EXISTS is caught.value.code
    assert 3 == current_trust(issuer.home).version


def test_a_client_that_slept_through_two_rotations_takes_the_newest_version(issuer: Created) -> None:
    for _ in range(2):
        admin(issuer.home).rotate_root()
    admin(issuer.home).add_key(LICENSE)
    newest = current_trust(issuer.home)
    assert newest.root != issuer.trust.root
    assert newest == issuer.trust.update(newest.data)


def test_without_the_former_root_key_clients_step_through_the_versions(issuer: Created) -> None:
    (old,) = admin(issuer.home).rotate_root().old
    stored = KeyStore(issuer.home).find(old.keyid)
    assert stored is not None
    stored.path.unlink()
    admin(issuer.home).add_key(LICENSE)
    newest = current_trust(issuer.home)
    with pytest.raises(TrustError):
        issuer.trust.update(newest.data)
    assert newest == issuer.trust.update(read_version(issuer.home, 2)).update(newest.data)


def test_an_older_home_gets_every_version_that_the_ledger_has(issuer: Created) -> None:
    for _ in range(2):
        admin(issuer.home).add_key(LICENSE)
    newest = current_trust(issuer.home)
    between = read_version(issuer.home, 2)
    (issuer.home / "trust" / "3.json").unlink()
    (issuer.home / "trust" / "2.json").write_bytes(b"of a change that lost a race")
    (issuer.home / "trust.json").write_bytes(issuer.trust.data)

    assert newest == current_trust(issuer.home)
    assert [between, newest.data] == [read_version(issuer.home, version) for version in (2, 3)]


def test_a_version_that_is_not_there_or_cannot_be_read_is_told(issuer: Created) -> None:
    (issuer.home / "trust" / "7.json").mkdir()
    for version, code in ((6, ReasonCode.NOT_FOUND), (7, ReasonCode.UNREADABLE)):
        with pytest.raises(KeyseatError) as caught:
            read_version(issuer.home, version)
        assert code is caught.value.code


def test_a_root_key_kept_offline_is_asked_for_and_then_used(issuer: Created, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    stored = KeyStore(issuer.home).find(issuer.trust.root[0].keyid)
    assert stored is not None
    shutil.move(stored.path, stick / stored.path.name)
    with pytest.raises(KeyseatError, match="takes 1 root key") as caught:
        admin(issuer.home).add_key(LICENSE)
    assert ReasonCode.KEY_UNAVAILABLE is caught.value.code
    assert "--root-keys" in STEPS.of(caught.value)
    (new,) = admin(issuer.home, root_folders=[stick]).rotate_root().new
    assert (stick / f"root-{new.keyid}.pem").exists()
    assert not (issuer.home / "keys" / f"root-{new.keyid}.pem").exists()


def test_a_policy_change_is_a_version_and_no_change_is_refused(issuer: Created) -> None:
    policy = issuer.trust.policy._replace(sunset=None)
    assert (2, policy) == (admin(issuer.home).set_policy(policy).version, current_trust(issuer.home).policy)
    with pytest.raises(KeyseatError, match="says all that already") as caught:
        admin(issuer.home).set_policy(policy)
    assert ReasonCode.INVALID_INPUT is caught.value.code


def test_a_signature_is_required_only_where_keys_can_make_it(issuer: Created) -> None:
    policy = issuer.trust.policy
    with pytest.raises(KeyseatError, match="ml-dsa-65"):
        admin(issuer.home).set_policy(policy, (ED25519, ML_DSA_65))
    for purpose in (LICENSE, LEASE):
        admin(issuer.home).add_key(purpose, ML_DSA_65)
    with pytest.raises(KeyseatError, match="ml-dsa-65 root key") as caught:
        admin(issuer.home).set_policy(policy, (ED25519, ML_DSA_65))
    assert "trust rotate --hybrid" in STEPS.of(caught.value)
    admin(issuer.home).rotate_root(Rotation(hybrid=True))
    trust = admin(issuer.home).set_policy(policy, (ED25519, ML_DSA_65))
    assert (ED25519, ML_DSA_65) == trust.signatures_required
    signer = open_license_signer(issuer.home, trust, PASSPHRASE, NOW + timedelta(days=1))
    assert 2 == len(signer.keyids)


@pytest.mark.parametrize(
    "act",
    [
        lambda desk, _keyid: desk.add_key(LICENSE),
        lambda desk, _keyid: desk.rotate_root(),
        lambda desk, keyid: desk.retire_key(keyid),
    ],
    ids=["add", "rotate", "retire"],
)
def test_a_wrong_passphrase_changes_nothing(issuer: Created, act: Callable[[TrustAdmin, str], object]) -> None:
    before = sorted((issuer.home / "keys").iterdir())
    with pytest.raises(KeyseatError, match="wrong passphrase"):
        act(admin(issuer.home, passphrase="not the passphrase"), issuer.trust.keys[0].key.keyid)
    assert (issuer.trust, before) == (current_trust(issuer.home), sorted((issuer.home / "keys").iterdir()))


def test_a_clock_set_back_changes_nothing(issuer: Created) -> None:
    with pytest.raises(KeyseatError) as caught:
        admin(issuer.home, now=NOW - timedelta(minutes=6)).add_key(LICENSE)
    assert ReasonCode.CLOCK_ROLLED_BACK is caught.value.code
    assert issuer.trust == current_trust(issuer.home)


class TestCrashes:
    def test_before_the_ledger_knows_the_change_is_forgotten(
        self, issuer: Created, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def crash(*_: object, **_named: object) -> None:
            raise Crash

        with monkeypatch.context() as patch:
            patch.setattr(trust_admin, "record", crash)
            with pytest.raises(Crash):
                admin(issuer.home).add_key(LICENSE)
        assert issuer.trust == current_trust(issuer.home)
        entry = admin(issuer.home).add_key(LICENSE)
        assert (2, entry) == (current_trust(issuer.home).version, current_trust(issuer.home).keys[-1])

    def test_after_the_ledger_knows_the_change_is_finished(
        self, issuer: Created, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def crash(*_: object, **_named: object) -> None:
            raise Crash

        with monkeypatch.context() as patch:
            patch.setattr(trust_admin, "write_private", crash)
            with pytest.raises(Crash):
                admin(issuer.home).add_key(LICENSE)
        assert 1 == load_trust(issuer.home).version
        finished = current_trust(issuer.home)
        assert finished == load_trust(issuer.home)
        signer = open_license_signer(issuer.home, finished, PASSPHRASE, NOW + timedelta(days=1))
        assert (finished.keys[-1].key.keyid,) == signer.keyids

    @pytest.mark.parametrize("act", [lambda desk: desk.rotate_root(), lambda desk: desk.add_key(LICENSE)])
    @pytest.mark.parametrize(
        "stopped", [KeyboardInterrupt(), KeyseatError(ReasonCode.LEDGER_UNAVAILABLE, "the connection broke")]
    )
    def test_a_key_that_the_ledger_may_know_is_not_thrown_away(
        self,
        issuer: Created,
        monkeypatch: pytest.MonkeyPatch,
        act: Callable[[TrustAdmin], object],
        stopped: BaseException,
    ) -> None:
        record = trust_admin.record

        def interrupted(*given: object, **named: object) -> None:
            record(*given, **named)  # type: ignore[arg-type]  # committed, and then Ctrl-C arrives, or the database's answer does not
            raise stopped

        with monkeypatch.context() as patch:
            patch.setattr(trust_admin, "record", interrupted)
            with pytest.raises(type(stopped)):
                act(admin(issuer.home))
        newest = current_trust(issuer.home)
        assert 2 == newest.version
        assert 3 == admin(issuer.home).set_policy(newest.policy._replace(sunset=None)).version
        assert all(KeyStore(issuer.home).find(key.key.keyid) for key in newest.keys)

    def test_a_key_that_the_ledger_does_not_know_is_taken_away_again(
        self, issuer: Created, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def crash(*_: object, **_named: object) -> None:
            raise Crash

        before = [stored.keyid for stored in KeyStore(issuer.home).stored()]
        with monkeypatch.context() as patch:
            patch.setattr(trust_admin, "record", crash)
            with pytest.raises(Crash):
                admin(issuer.home).add_key(LICENSE)
        assert before == [stored.keyid for stored in KeyStore(issuer.home).stored()]

    def test_a_home_restored_from_an_old_backup_catches_up(self, issuer: Created) -> None:
        admin(issuer.home).rotate_root()
        admin(issuer.home).set_policy(issuer.trust.policy._replace(sunset=None))
        newest = current_trust(issuer.home)
        (issuer.home / "trust.json").write_bytes(issuer.trust.data)
        assert newest == current_trust(issuer.home)


class TestTampering:
    def test_a_signed_bundle_that_the_ledger_does_not_know_is_refused(self, issuer: Created) -> None:
        # Whoever has the root key could else lift the sunset past the audit trail.
        root = KeyStore(issuer.home).open(issuer.trust.root[0], PASSPHRASE)
        draft = Draft.after(issuer.trust, NOW)
        draft = draft._replace(policy=issuer.trust.policy._replace(sunset=None))
        (issuer.home / "trust.json").write_bytes(draft.sign([root]))
        with pytest.raises(TrustError, match="on record") as caught:
            current_trust(issuer.home)
        assert ReasonCode.TRUST_INVALID is caught.value.code

    def test_two_copies_of_one_home_cannot_part_ways(self, issuer: Created, tmp_path: Path) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(issuer.home, copy)
        stale = load_trust(copy)
        admin(issuer.home).add_key(LICENSE)
        desk = admin(copy)
        with pytest.raises(TrustError) as caught:
            desk._publish(stale, Draft.after(stale, NOW + timedelta(days=1)), "trust.policy_set", "x")
        assert ReasonCode.TRUST_ROLLBACK is caught.value.code
        assert [1, 2] == versions_on_record()
        assert current_trust(issuer.home) == current_trust(copy)


class TestFinding:
    def test_a_root_key_is_rotated_not_revoked(self, issuer: Created) -> None:
        with pytest.raises(KeyseatError) as caught:
            find_key(issuer.trust, issuer.trust.root[0].keyid)
        assert "trust rotate" in STEPS.of(caught.value)

    @pytest.mark.parametrize("keyid", ["", "zz"])
    def test_what_names_no_single_key_is_refused(self, issuer: Created, keyid: str) -> None:
        with pytest.raises(KeyseatError) as caught:
            find_key(issuer.trust, keyid)
        assert caught.value.code in {ReasonCode.NOT_FOUND, ReasonCode.INVALID_INPUT}


@pytest.mark.usefixtures("issuer")
def test_a_second_issuer_on_one_ledger_is_refused(ledger: Ledger) -> None:
    with pytest.raises(KeyseatError, match="belongs to an issuer") as caught:
        make_issuer(ledger.home / "second")
    assert ReasonCode.ALREADY_EXISTS is caught.value.code
    assert ["vendor"] == [path.name for path in ledger.home.iterdir() if path.is_dir()]


def test_a_hybrid_issuer_requires_both_signatures(ledger: Ledger) -> None:
    created = make_issuer(ledger.home / "vendor", hybrid=True)
    assert (ED25519, ML_DSA_65) == created.trust.signatures_required
    assert isinstance(created.trust, TrustBundle)
    assert 2 == len(open_license_signer(created.home, created.trust, PASSPHRASE, NOW).keyids)
