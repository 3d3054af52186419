"""The client's trust bundle over rotations of the root key: the pinned one, the newest, and the versions in between."""

from pathlib import Path

import pytest

from builders import ROOT, SECOND_ROOT, THIRD_ROOT, SeededKey, bundle
from keyseat_shared.errors import TrustError
from keyseat_shared.trust import TrustBundle
from keyseat_verifier.trust_source import TrustSource

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

        monkeypatch.setattr("keyseat_verifier.trust_source.write_private", full)
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
