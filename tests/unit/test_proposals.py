"""Proposals: who must sign, what a changed or dishonest one comes to, and that none passes for a bundle."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from builders import LEASE_KEY, LICENSE_KEY, ROOT, SECOND_ROOT, THIRD_ROOT, SeededKey, bundle, trusted
from keyseat_issuer.cli.steps import STEPS
from keyseat_issuer.cli.trust_changes import change_lines
from keyseat_issuer.home import write_private
from keyseat_issuer.keys.roots import choose, missing
from keyseat_issuer.keys.store import PrivateKey
from keyseat_issuer.ledger.audit.bundles import KEY_ADDED, KEY_RETIRED, KEY_REVOKED, POLICY_SET, ROOT_ROTATED
from keyseat_issuer.trust.offline_signing import SEEN_FILE, Seen, check_present
from keyseat_issuer.trust.proposals import Proposal, in_words, merged, read_proposal
from keyseat_shared import trust as trust_module
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import Envelope
from keyseat_shared.errors import KeyseatError, TrustError
from keyseat_shared.keys import ED25519, ML_DSA_65, PublicKey, key_id
from keyseat_shared.policy import Policy, Product, default_policy
from keyseat_shared.trust import (
    COMPROMISED,
    LEASE,
    LICENSE,
    RETIRED,
    TrustBundle,
    bundle_payload,
    quorums,
    unverified_bundle,
)

THREE = (ROOT, SECOND_ROOT, THIRD_ROOT)
QUANTUM = tuple(SeededKey(seed, ML_DSA_65) for seed in (21, 22, 23))
BOTH = (ED25519, ML_DSA_65)
POLICY = default_policy()
OTHER_POLICY = POLICY._replace(lease_ttl=7200)


def signing(key: SeededKey) -> PrivateKey:
    return PrivateKey(key.private)


def payload(**changes: Any) -> bytes:  # noqa: ANN401 - whatever `bundle` takes
    return Envelope.from_bytes(
        bundle(**({"version": 2, "root": THREE, "threshold": 2, "signers": [ROOT]} | changes))
    ).payload


PRESENT = TrustBundle.from_bytes(bundle(root=THREE, threshold=2, signers=[ROOT, SECOND_ROOT]))
CHANGE = Proposal(PRESENT, payload(policy=OTHER_POLICY))


def edited(proposal: Proposal, edit: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(proposal.to_bytes())
    edit(value)
    return json.dumps(value).encode()


class TestSigning:
    def test_it_is_complete_with_the_threshold_and_not_before(self) -> None:
        assert ["2 of the root keys " + ", ".join(key.public.keyid for key in THREE)] == in_words(CHANGE.missing())
        once = CHANGE.sign([signing(ROOT)])
        with pytest.raises(KeyseatError, match="lacks signatures"):
            once.to_bundle()
        twice = Proposal.from_bytes(once.to_bytes()).sign([signing(THIRD_ROOT)])
        assert [] == twice.missing()
        assert PRESENT.update(twice.to_bundle()).policy == OTHER_POLICY

    def test_one_key_signs_once(self) -> None:
        with pytest.raises(KeyseatError) as caught:
            CHANGE.sign([signing(ROOT), signing(ROOT)])
        assert ReasonCode.ALREADY_EXISTS is caught.value.code

    def test_copies_are_merged_and_different_proposals_are_not(self) -> None:
        copies = [CHANGE.sign([signing(key)]) for key in (ROOT, SECOND_ROOT)]
        assert [] == merged([*copies, copies[0]]).missing()
        other = Proposal(PRESENT, payload())
        with pytest.raises(KeyseatError, match="different proposals"):
            merged([CHANGE, other])

    def test_no_proposal_is_taken_for_a_bundle(self) -> None:
        complete = CHANGE.sign([signing(ROOT), signing(SECOND_ROOT)])
        for load in (TrustBundle.from_bytes, PRESENT.update):
            with pytest.raises(TrustError):
                load(complete.to_bytes())

    def test_more_signatures_than_a_file_holds_are_left_out(self) -> None:
        nine = tuple(SeededKey(seed) for seed in range(31, 40))
        present = TrustBundle.from_bytes(bundle(root=nine, threshold=4, signers=nine[:4]))
        full = Proposal(present, payload(root=nine, threshold=4)).sign([signing(key) for key in nine])
        assert 8 == len(Envelope.from_bytes(full.to_bundle()).signatures)
        assert 2 == present.update(full.to_bundle()).version


class TestReading:
    @pytest.mark.parametrize(
        ("edit", "said"),
        [
            pytest.param(lambda v: v.update(kind="x"), "no proposal", id="another kind"),
            pytest.param(lambda v: v.update(format=2), "another format", id="another format"),
            pytest.param(lambda v: v.update(format=True), "another format", id="format is true"),
            pytest.param(lambda v: v.update(act="nothing"), "unknown keys", id="a label"),
            pytest.param(lambda v: v.pop("present"), "lacks present", id="no present bundle"),
            pytest.param(lambda v: v.update(payload="QR=="), "base64", id="payload not base64"),
            pytest.param(lambda v: v.update(payload="e30="), "not usable", id="payload is no bundle"),
            pytest.param(lambda v: v["signatures"].append(v["signatures"][0]), "does not hold", id="signed twice"),
            pytest.param(lambda v: v["signatures"][0].update(keyid="x"), "does not hold", id="nobody's signature"),
            pytest.param(
                lambda v: v["signatures"][0].update(keyid=SECOND_ROOT.public.keyid), "does not hold", id="another's id"
            ),
        ],
    )
    def test_a_changed_proposal_is_refused(self, edit: Callable[[dict[str, Any]], object], said: str) -> None:
        with pytest.raises(KeyseatError, match=said) as caught:
            Proposal.from_bytes(edited(CHANGE.sign([signing(ROOT)]), edit))
        assert ReasonCode.TRUST_INVALID is caught.value.code

    @pytest.mark.parametrize("version", [1, 3, 2**53])
    def test_it_goes_to_the_next_version_only(self, version: int) -> None:
        with pytest.raises(KeyseatError, match="not to the next"):
            Proposal.from_bytes(Proposal(PRESENT, payload(version=version)).to_bytes())

    @pytest.mark.parametrize(
        ("key", "name"),
        [
            (LICENSE_KEY, "another id"),
            (THIRD_ROOT, "another id"),
            (SeededKey(31), f"{LEASE_KEY.public.keyid} (ed25519) signs leases, 2023-01-01T00:00:00Z to 2027"),
        ],
    )
    def test_a_key_by_a_name_that_is_not_its_own_is_refused(self, key: SeededKey, name: str) -> None:
        """Files name their key by its id: under another one nothing counts any more, and no line would say so."""
        named = PublicKey(key.public.algorithm, key.public.raw, name)
        offered = unverified_bundle(payload())
        root = tuple([named if known == named else known for known in offered.root])
        entry = trusted(LICENSE_KEY)._replace(key=named)
        keys = offered.keys if named in root else (entry, trusted(LEASE_KEY, LEASE))
        renamed = bundle_payload(
            version=2,
            issued_at=offered.issued_at,
            vendor=offered.vendor,
            root=root,
            threshold=2,
            keys=keys,
            policy=offered.policy,
        )
        with pytest.raises(TrustError, match="not the id"):
            Proposal.from_bytes(Proposal(PRESENT, renamed).to_bytes())

    def test_a_key_that_the_present_bundle_names_otherwise_keeps_that_name(self) -> None:
        named = trusted(LICENSE_KEY)._replace(key=PublicKey(ED25519, LICENSE_KEY.public.raw, "of 2023"))
        keys = (named, trusted(LEASE_KEY, LEASE))
        present = TrustBundle.from_bytes(bundle(root=THREE, threshold=2, signers=[ROOT, SECOND_ROOT], keys=keys))
        kept = Proposal(present, payload(keys=keys))
        assert kept == Proposal.from_bytes(kept.to_bytes())

    def test_an_unusable_key_is_refused_before_anybody_signs(self) -> None:
        mixed = bytes.fromhex("003789297ce02defa2f4bc7635d1d7ce99b96d76eb91d31f905101674ddab720")
        entry = trusted(LICENSE_KEY)._replace(key=PublicKey(ED25519, mixed, key_id(ED25519, mixed)))
        with pytest.raises(KeyseatError, match="prime order"):
            Proposal.from_bytes(Proposal(PRESENT, payload(keys=[entry])).to_bytes())

    def test_an_example_key_is_refused_before_anybody_signs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trust_module, "EXAMPLE_PUBLIC_KEYS", frozenset({SeededKey(70).public.raw}))
        with pytest.raises(KeyseatError) as caught:
            Proposal.from_bytes(Proposal(PRESENT, payload(keys=[trusted(SeededKey(70))])).to_bytes())
        assert ReasonCode.EXAMPLE_KEY is caught.value.code

    def test_its_present_bundle_must_be_signed(self) -> None:
        forged = PRESENT._replace(data=bundle(root=THREE, threshold=2, signers=[ROOT]))
        with pytest.raises(KeyseatError, match="1 of its own root keys; 2 must sign"):
            Proposal.from_bytes(CHANGE._replace(present=forged).to_bytes())

    def test_a_missing_or_huge_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(KeyseatError) as caught:
            read_proposal(tmp_path / "none")
        assert ReasonCode.UNREADABLE is caught.value.code
        (tmp_path / "huge").write_bytes(b" " * (512 * 1024 + 1))
        with pytest.raises(KeyseatError, match="too large"):
            read_proposal(tmp_path / "huge")


@pytest.mark.parametrize(
    ("changes", "action", "subject"),
    [
        ({"policy": OTHER_POLICY}, POLICY_SET, OTHER_POLICY.digest()),
        ({"keys": [trusted(LICENSE_KEY)]}, KEY_RETIRED, LEASE_KEY.public.keyid),
        (
            {"keys": [trusted(LICENSE_KEY, status=RETIRED), trusted(LEASE_KEY, LEASE)]},
            KEY_RETIRED,
            LICENSE_KEY.public.keyid,
        ),
        (
            {"keys": [trusted(LICENSE_KEY, status=COMPROMISED), trusted(LEASE_KEY, LEASE)], "policy": OTHER_POLICY},
            KEY_REVOKED,
            LICENSE_KEY.public.keyid,
        ),
        (
            {"keys": [trusted(LICENSE_KEY), trusted(LEASE_KEY, LEASE), trusted(SeededKey(40), LICENSE)]},
            KEY_ADDED,
            SeededKey(40).public.keyid,
        ),
        ({"root": (ROOT, SECOND_ROOT, SeededKey(41))}, ROOT_ROTATED, THIRD_ROOT.public.keyid),
        ({"threshold": 1}, ROOT_ROTATED, ROOT.public.keyid),
    ],
)
def test_what_the_audit_log_says_is_read_from_the_versions(changes: dict[str, Any], action: str, subject: str) -> None:
    assert (action, subject) == Proposal(PRESENT, payload(**changes)).act()


class TestQuorums:
    ROOTS = tuple(key.public for key in (*THREE, *QUANTUM))

    def test_each_algorithm_is_missing_by_itself(self) -> None:
        wanted = quorums(self.ROOTS, 2, BOTH)
        left = missing(wanted, [self.ROOTS[0], self.ROOTS[1]])
        assert [(self.ROOTS[3:], 2, ML_DSA_65)] == [(quorum.keys, quorum.needed, quorum.algorithm) for quorum in left]
        assert [] == missing(wanted, [*self.ROOTS[:2], *self.ROOTS[4:]])

    def test_a_higher_threshold_over_the_same_keys_stands_for_the_lower(self) -> None:
        roots = self.ROOTS[:3]
        left = missing((*quorums(roots, 1, (ED25519,)), *quorums(roots, 2, (ED25519,))), [])
        assert [2] == [quorum.needed for quorum in left]

    def test_keys_of_both_roots_are_chosen_first(self) -> None:
        old, new = self.ROOTS[:3], (*self.ROOTS[1:3], SeededKey(50).public)
        wanted = (*quorums(old, 2, (ED25519,)), *quorums(new, 2, (ED25519,)))
        assert list(self.ROOTS[1:3]) == choose([*old, *new], wanted)


class TestSeen:
    """What a thief of the issuer's computer could show to the holder of a root key."""

    def seen(self, folder: Path, trust: TrustBundle) -> list[Seen]:
        write_private(folder / SEEN_FILE, trust.data)
        return [Seen.beside(folder / "root.pem")]

    def test_the_same_or_a_following_version_is_in_order(self, tmp_path: Path) -> None:
        assert check_present(CHANGE, self.seen(tmp_path, PRESENT), None)
        later = TrustBundle.from_bytes(bundle(version=4, root=THREE, threshold=2, signers=[ROOT, SECOND_ROOT]))
        assert check_present(CHANGE._replace(present=later), self.seen(tmp_path, PRESENT), None)

    def test_nothing_seen_is_told_apart(self, tmp_path: Path) -> None:
        assert not check_present(CHANGE, [Seen.beside(tmp_path)], None)

    def test_an_older_version_is_a_rollback(self, tmp_path: Path) -> None:
        later = TrustBundle.from_bytes(bundle(version=4, root=THREE, threshold=2, signers=[ROOT, SECOND_ROOT]))
        with pytest.raises(TrustError) as caught:
            check_present(CHANGE, self.seen(tmp_path, later), None)
        assert ReasonCode.TRUST_ROLLBACK is caught.value.code

    def test_another_bundle_of_the_same_version_is_refused(self, tmp_path: Path) -> None:
        twin = TrustBundle.from_bytes(bundle(root=THREE, threshold=2, signers=[ROOT, THIRD_ROOT]))
        with pytest.raises(TrustError, match="another version 1"):
            check_present(CHANGE, self.seen(tmp_path, twin), None)

    def test_a_bundle_of_the_thiefs_making_is_refused(self, tmp_path: Path) -> None:
        # The holder's key is listed in it, and the thief's own key signs it.
        thief = SeededKey(60)
        forged = TrustBundle.from_bytes(bundle(version=2, root=[ROOT, thief], threshold=1, signers=[thief]))
        with pytest.raises(TrustError, match="does not follow from version 1") as caught:
            check_present(CHANGE._replace(present=forged), self.seen(tmp_path, PRESENT), None)
        assert "--present TRUST" in STEPS.of(caught.value)

    def test_a_damaged_note_does_not_count_as_none(self, tmp_path: Path) -> None:
        (tmp_path / SEEN_FILE).write_bytes(b"{")
        with pytest.raises(KeyseatError) as caught:
            Seen.beside(tmp_path)
        assert ReasonCode.UNREADABLE is caught.value.code

    def test_a_note_that_cannot_be_kept_is_told(self, tmp_path: Path) -> None:
        assert "An older proposal will not be noticed" in str(Seen(tmp_path / "gone", None).remember(CHANGE))
        assert Seen(tmp_path, None).remember(CHANGE) is None
        assert Seen(tmp_path, PRESENT, CHANGE.payload) == Seen.beside(tmp_path)


class TestChangesInWords:
    """A change that is not listed would be signed unseen."""

    POLICY: Mapping[str, object] = {
        "sunset": None,
        "eligible_terms": ("annual", "monthly"),
        "products": {"APP": Product("App", "named")},
        "lease_ttl": 7200,
        "lease_renew_after": 600,
        "forbidden_evidence": ("host-id",),
        "max_years": 3,
        "freshness_required": (),
        "lease_overlap": 7,
        "lease_takeovers": 7,
    }

    @pytest.mark.parametrize("field", Policy._fields)
    def test_every_rule_has_a_line(self, field: str) -> None:
        changed = POLICY._replace(**{field: self.POLICY[field]})
        assert changed != POLICY
        lines = change_lines(PRESENT, unverified_bundle(payload(policy=changed)))
        assert 2 <= len(lines), lines
        assert "nothing else" not in lines[1]

    def test_a_threshold_over_root_keys_of_several_kinds_has_a_line(self) -> None:
        root = (ROOT, QUANTUM[0])
        old, new = [unverified_bundle(payload(root=root, threshold=needed, signers=root)) for needed in (2, 1)]
        assert "root threshold: 2 -> 1" in change_lines(old, new)

    def test_a_name_puts_no_line_of_its_own_onto_the_screen(self) -> None:
        """A long run of spaces wraps: what follows looks like the next line of the list."""
        policy = POLICY._replace(products={"KSE": Product(f"App{' ' * 80}nothing else", "named")})
        said = "\n".join(change_lines(PRESENT, unverified_bundle(payload(policy=policy))))
        assert r"App\x20\x20" in said
        assert "  " not in said

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({}, "nothing else"),
            ({"threshold": 1}, "2 of 3 ed25519 root key(s) must sign a change -> 1 of 3"),
            ({"root": (ROOT, SECOND_ROOT)}, f"root key goes: {THIRD_ROOT.public.keyid} (ed25519)"),
            ({"root": (*THREE, QUANTUM[0])}, f"root key comes: {QUANTUM[0].public.keyid} (ml-dsa-65)"),
            ({"keys": [trusted(LICENSE_KEY)]}, f"key goes, and all that it signed: {LEASE_KEY.public.keyid}"),
            ({"keys": [trusted(LICENSE_KEY), trusted(LEASE_KEY)]}, f"key {LEASE_KEY.public.keyid}: "),
            ({"signatures_required": BOTH}, "a licence needs these signatures: ed25519 -> ed25519, ml-dsa-65"),
        ],
    )
    def test_every_other_change_has_a_line(self, changes: dict[str, Any], said: str) -> None:
        assert said in "\n".join(change_lines(PRESENT, unverified_bundle(payload(**changes))))


def test_another_bundle_of_a_version_signed_here_does_not_count_as_that_one(tmp_path: Path) -> None:
    forged = TrustBundle.from_bytes(bundle(version=2, root=(SeededKey(77),), threshold=1, signers=[SeededKey(77)]))
    seen = Seen(tmp_path, PRESENT, CHANGE.payload)
    with pytest.raises(TrustError, match="does not follow from version 1"):
        check_present(Proposal(forged, payload(version=3)), [seen], None)
