"""The client's trust bundle over rotations of the root key: the pinned one, the newest, and the versions in between."""

from pathlib import Path

import pytest

from builders import ROOT, SECOND_ROOT, THIRD_ROOT, SeededKey, bundle
from keyseat_shared.errors import TrustError
from keyseat_shared.trust import TrustBundle
from keyseat_verifier._internal import account_place
from keyseat_verifier.client.trust_source import TrustSource

CHAIN = {
    1: bundle(version=1),
    2: bundle(version=2, root=[SECOND_ROOT], signers=[ROOT, SECOND_ROOT]),
    3: bundle(version=3, root=[SECOND_ROOT]),
    4: bundle(version=4, root=[THIRD_ROOT], signers=[SECOND_ROOT, THIRD_ROOT]),
    5: bundle(version=5, root=[THIRD_ROOT]),
}
"""Two rotations, after each of which the former root key was destroyed."""


def source(home: Path, pinned: int = 1) -> TrustSource:
    bundle_ = TrustBundle.from_bytes(CHAIN[pinned])
    return TrustSource(bundle_, str(home), "KSE", clock=None, allow_example_keys=False)


def used(home: Path, pinned: int = 1) -> tuple[int, tuple[str, ...]]:
    """Return the version that a program which starts now uses, and its warnings."""
    verifier, warnings = source(home, pinned).load()
    return verifier.trust.version, warnings


def put(home: Path, **files: bytes) -> None:
    """Put files there by hand: ``trust`` is trust.json, ``v2`` is trust/2.json."""
    (home / "trust").mkdir(exist_ok=True)
    for name, data in files.items():
        path = home / "trust.json" if name == "trust" else home / "trust" / f"{name.removeprefix('v')}.json"
        path.write_bytes(data)


class TestAdopting:
    def test_one_version_after_the_other_survives_the_next_start(self, tmp_path: Path) -> None:
        running = source(tmp_path)
        for version in (2, 3, 4, 5):
            running.adopt(CHAIN[version])
            assert version == running.verifier().trust.version
            assert (version, ()) == used(tmp_path)

    def test_keeps_nothing_in_between_while_the_pinned_root_signs(self, tmp_path: Path) -> None:
        running = source(tmp_path)
        running.adopt(bundle(version=2))
        running.adopt(bundle(version=3))

        assert ["trust.json"] == [path.name for path in tmp_path.iterdir()]

    def test_where_nothing_can_be_written_counts_for_this_process(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: str, data: bytes) -> None:
            raise OSError(28, "No space left on device", path)

        monkeypatch.setattr("keyseat_verifier.client.trust_source.write_private", full)
        running = source(tmp_path)
        for version in (2, 3, 4):
            running.adopt(CHAIN[version])
            assert version == running.verifier().trust.version
        assert (1, ()) == used(tmp_path)
        put(tmp_path, trust=bundle(version=9))
        assert 9 == running.verifier().trust.version

    def test_of_a_bundle_that_the_rule_forbids_writes_nothing(self, tmp_path: Path) -> None:
        running = source(tmp_path)
        for data in (CHAIN[3], CHAIN[5], bundle(version=9, root=[SeededKey(9)]), b"junk"):
            with pytest.raises(TrustError):
                running.adopt(data)

        assert ([], 1) == ([*tmp_path.iterdir()], running.verifier().trust.version)

    def test_is_never_backwards(self, tmp_path: Path) -> None:
        running = source(tmp_path)
        running.adopt(CHAIN[2])
        running.adopt(CHAIN[3])
        with pytest.raises(TrustError) as caught:
            running.adopt(bundle(version=3, root=[SECOND_ROOT], threshold=1, keys=[]))

        assert ("TRUST_ROLLBACK", CHAIN[3]) == (caught.value.code, (tmp_path / "trust.json").read_bytes())


class TestAnotherProgram:
    def test_that_pins_a_newer_root_needs_no_steps(self, tmp_path: Path) -> None:
        put(tmp_path, trust=CHAIN[5])
        assert (5, ()) == used(tmp_path, pinned=4)

    def test_that_pins_the_newest_leaves_older_ones_alone(self, tmp_path: Path) -> None:
        put(tmp_path, v2=CHAIN[2], trust=CHAIN[4])
        assert (5, ()) == used(tmp_path, pinned=5)

    def test_that_pins_an_older_root_warns_where_no_way_leads_to_it(self, tmp_path: Path) -> None:
        put(tmp_path, trust=CHAIN[5])
        version, warnings = used(tmp_path)

        assert 1 == version
        assert "trust.json was not adopted: the trust bundle is signed by 0 of the present root keys" in warnings[0]


class TestStepsByHand:
    def test_lead_to_the_newest_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        put(tmp_path, v4=CHAIN[4], v2=CHAIN[2], v3=CHAIN[3], trust=CHAIN[5])
        assert (5, ()) == used(tmp_path)

    def test_that_lead_nowhere_are_left_out(self, tmp_path: Path) -> None:
        stranger = bundle(version=3, root=[SeededKey(9)])
        put(tmp_path, v1=b"junk", v2=CHAIN[2], v3=stranger, v4=CHAIN[4], v99999999999999999=b"", vx=b"", trust=CHAIN[5])
        (tmp_path / "trust" / "5.json").mkdir()
        assert (5, ()) == used(tmp_path)

    def test_count_as_far_as_they_go(self, tmp_path: Path) -> None:
        put(tmp_path, v2=CHAIN[2], trust=CHAIN[5])
        version, warnings = used(tmp_path)

        assert (2, 1) == (version, len(warnings))

    def test_cannot_replace_the_pinned_root(self, tmp_path: Path) -> None:
        stranger = SeededKey(9)
        put(tmp_path, v2=bundle(version=2, root=[stranger]), trust=bundle(version=3, root=[stranger]))
        version, warnings = used(tmp_path)

        assert (1, 1) == (version, len(warnings))


class TestWhatWasInUse:
    """It is remembered in the account's own place, signed as it is."""

    def test_survives_that_the_home_loses_it(self, tmp_path: Path) -> None:
        source(tmp_path).adopt(bundle(version=7))
        (tmp_path / "trust.json").unlink()
        assert (7, ()) == used(tmp_path)

    def test_survives_an_older_bundle_in_its_place(self, tmp_path: Path) -> None:
        source(tmp_path).adopt(bundle(version=7))
        put(tmp_path, trust=bundle(version=5))
        assert (7, ()) == used(tmp_path)

    def test_counts_in_every_home(self, tmp_path: Path) -> None:
        source(tmp_path / "one").adopt(bundle(version=7))
        assert (7, ()) == used(tmp_path / "another")

    def test_is_remembered_also_where_somebody_put_it_into_the_home(self, tmp_path: Path) -> None:
        put(tmp_path, trust=bundle(version=7))
        assert (7, ()) == used(tmp_path)
        (tmp_path / "trust.json").unlink()
        assert (7, ()) == used(tmp_path)

    def test_is_remembered_with_the_steps_that_lead_there(self, tmp_path: Path) -> None:
        running = source(tmp_path)
        for version in (2, 3, 4, 5):
            running.adopt(CHAIN[version])
        assert (5, ()) == used(tmp_path / "another")

    def test_is_remembered_with_the_steps_of_the_home(self, tmp_path: Path) -> None:
        """An older client has left them there, or somebody has put them there."""
        put(tmp_path, v2=CHAIN[2], v3=b"junk", v4=CHAIN[4], trust=CHAIN[5])
        assert (5, ()) == used(tmp_path)
        assert (5, ()) == used(tmp_path / "another")

    def test_gets_steps_that_are_found_later(self, tmp_path: Path, own_account_home: Path) -> None:
        put(tmp_path, v2=CHAIN[2], v4=CHAIN[4], trust=CHAIN[5])
        used(tmp_path)
        for name in ("2.json", "4.json"):
            (path,) = own_account_home.rglob(f"trust-*/{name}")
            path.unlink()
        assert (5, ()) == used(tmp_path)
        assert (5, ()) == used(tmp_path / "another")

    @pytest.mark.parametrize("name", ["7.json", "0007.json"])
    def test_is_remembered_anew_where_the_copy_is_spoilt(
        self, tmp_path: Path, own_account_home: Path, name: str
    ) -> None:
        source(tmp_path).adopt(bundle(version=7))
        (path,) = own_account_home.rglob("trust-*/7.json")
        path.unlink()
        path.with_name(name).write_bytes(b"")
        assert (7, ()) == used(tmp_path)
        assert (7, ()) == used(tmp_path / "another")

    def test_needs_no_steps_while_the_pinned_root_signs(self, tmp_path: Path, own_account_home: Path) -> None:
        running = source(tmp_path)
        for version in (2, 3, 4):
            running.adopt(bundle(version=version))
        assert ["4.json"] == [path.name for path in own_account_home.rglob("trust-*/*")]

    def test_is_each_vendors_own_in_a_home_that_they_share(self, tmp_path: Path) -> None:
        theirs = SeededKey(9)
        source(tmp_path).adopt(bundle(version=7))
        their_first = TrustBundle.from_bytes(bundle(version=1, root=[theirs]))
        other = TrustSource(their_first, str(tmp_path), "KSE", clock=None, allow_example_keys=False)
        other.adopt(bundle(version=9, root=[theirs]))
        version, warnings = used(tmp_path)
        assert (7, True) == (version, "was not adopted" in warnings[0])

    def test_does_not_hinder_a_release_that_pins_a_newer_one(self, tmp_path: Path) -> None:
        source(tmp_path).adopt(bundle(version=3))
        newer = TrustBundle.from_bytes(bundle(version=8))
        found = TrustSource(newer, str(tmp_path), "KSE", clock=None, allow_example_keys=False).load()
        assert (8, ()) == (found[0].trust.version, found[1])

    def test_is_believed_by_the_update_rule_alone(self, tmp_path: Path, own_account_home: Path) -> None:
        source(tmp_path).adopt(bundle(version=2))
        (folder,) = own_account_home.rglob("trust-*")
        (folder / "9.json").write_bytes(bundle(version=9, root=[SeededKey(9)]))
        version, warnings = used(tmp_path)
        assert 2 == version
        assert "version 9 of the trust bundle was in use here, and its copy is lost: version 2 counts" in warnings[0]
        assert "Activate online" in warnings[0]

    @pytest.mark.parametrize("content", [b"", b"{", b"junk"])
    def test_that_is_damaged_falls_back_and_locks_nobody_out(
        self, tmp_path: Path, own_account_home: Path, content: bytes
    ) -> None:
        source(tmp_path).adopt(bundle(version=7))
        (tmp_path / "trust.json").unlink()
        for path in own_account_home.rglob("trust-*/*"):
            path.write_bytes(content)
        version, warnings = used(tmp_path)
        assert (1, 1) == (version, len(warnings))

    def test_that_is_lost_everywhere_falls_back_to_the_pinned_one(self, tmp_path: Path, own_account_home: Path) -> None:
        source(tmp_path).adopt(bundle(version=7))
        (tmp_path / "trust.json").unlink()
        for path in own_account_home.rglob("trust-*/*"):
            path.unlink()
        assert (1, ()) == used(tmp_path)

    def test_is_kept_also_where_the_home_cannot_be_written(self, tmp_path: Path) -> None:
        home = tmp_path / "file"
        home.write_bytes(b"a file where the folder should be")
        running = source(home)
        running.adopt(bundle(version=7))
        assert 7 == running.verifier().trust.version
        assert 7 == used(home)[0]

    def test_is_used_without_any_place_to_remember_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(account_place, "candidates", list)
        (tmp_path / "sessions").write_bytes(b"a file where the folder should be")
        source(tmp_path).adopt(bundle(version=7))
        assert (7, ()) == used(tmp_path)
