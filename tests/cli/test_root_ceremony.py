"""The root ceremony of docs/operations.md, command by command, and what becomes of a proposal."""

import json
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pytest_django.plugin import DjangoDbBlocker
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Key

import databases
from issuing import PASSPHRASE, cheap_scrypt
from keyseat_issuer.cli import main
from keyseat_issuer.home import load_trust
from keyseat_issuer.keys.store import KeyStore
from keyseat_issuer.ledger.audit.bundles import history
from keyseat_issuer.server import creation
from keyseat_shared.keys import ED25519, ML_DSA_65
from keyseat_shared.trust import TrustBundle

DOC = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
HOLDERS = ("ada", "bob", "eve", "zoe")


def of_document(name: str) -> list[list[str]]:
    """Return the commands of a block of the document."""
    block = re.search(rf"<!-- ceremony: {name} -->\n```\n(.*?)```", DOC, flags=re.DOTALL)
    assert block is not None
    return [shlex.split(line)[1:] for line in block[1].splitlines()]


class Table:
    """A table with the issuer's computer, and media of several holders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "issuer"
        for holder in HOLDERS:
            (folder / holder).mkdir()
            self.passphrase_of(holder).write_text(f"the words of {holder} alone")
            self.passphrase_of(holder).chmod(0o600)

    def passphrase_of(self, holder: str) -> Path:
        return self.folder / f"{holder}.passphrase"

    def key(self, holder: str, algorithm: str, suffix: str = ".pem") -> Path:
        """Return a key file of a holder."""
        sizes = sorted((self.folder / holder).glob("root-*.pub"), key=lambda path: path.stat().st_size)
        if sizes:
            named = dict(zip((ED25519, ML_DSA_65), sizes, strict=False))[algorithm]
            return named.with_suffix(suffix)
        algorithms = {key.keyid: key.algorithm for key in load_trust(self.home).root}
        stored = KeyStore(self.folder / "none", [self.folder / holder]).stored()
        return next(found.path for found in stored if algorithms.get(found.keyid) == algorithm)

    def say(self, *words: str, passphrase: str | None = None) -> Result:
        """Run a command, under the passphrase of a holder where one is named."""
        env = {} if passphrase is None else {"KEYSEAT_PASSPHRASE_FILE": str(self.passphrase_of(passphrase))}
        return CliRunner().invoke(main, list(words), catch_exceptions=False, env=env)

    def do(self, *words: str, passphrase: str | None = None) -> dict[str, Any]:
        """Run a command that must succeed, and return what it says."""
        result = self.say(*words, "--json", passphrase=passphrase)
        assert 0 == result.exit_code, result.stdout + result.stderr
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    def at_once(self, *words: str) -> dict[str, Any]:
        """Run a change with the root keys of two holders at hand."""
        own = [("--root-keys", str(self.folder / holder)) for holder in ("ada", "bob")]
        files = [("--root-passphrase-file", str(self.passphrase_of(holder))) for holder in ("ada", "bob")]
        return self.do(*words, *[word for pair in own + files for word in pair])

    def perform(self, name: str) -> list[dict[str, Any]]:
        """Run a block of the document, with its places and people put in."""
        return [self.do(*self._placed(words), passphrase=self._holder(words)) for words in of_document(name)]

    def _placed(self, words: list[str]) -> list[str]:
        names = {"ED25519_OF_EVE": ("eve", ED25519), "ML_DSA_OF_EVE": ("eve", ML_DSA_65)}
        files = {"ED25519.pub": ED25519, "ML_DSA.pub": ML_DSA_65}
        placed: list[str] = []
        for word in words:
            if word in names:
                placed.append(self.key(*names[word]).stem.partition("-")[2])
            elif word.rpartition("/")[2] in files:
                placed.append(str(self.key("zoe", files[word.rpartition("/")[2]], ".pub")))
            elif word.endswith(".json"):
                placed.append(str(self.folder / word))
            else:
                placed.append(word.replace("/media", str(self.folder)))
        if words[0] == "init":
            for holder in HOLDERS[:3]:
                placed += ["--root-passphrase-file", str(self.passphrase_of(holder))]
        return [*placed, "--yes"] if words[:2] == ["trust", "sign"] else placed

    def _holder(self, words: list[str]) -> str | None:
        if words[:2] not in (["trust", "sign"], ["trust", "new-root"]):
            return None
        return next(word for word in words if word.startswith("/media/")).rpartition("/")[2]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker) -> Iterator[Table]:
    """A table before the ceremony."""
    cheap_scrypt(monkeypatch)
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    (tmp_path / "passphrase").chmod(0o600)
    made = Table(tmp_path)
    monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(made.home))
    monkeypatch.setenv("KEYSEAT_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    databases.point_at(f"sqlite:///{made.home / 'ledger.sqlite3'}")
    with django_db_blocker.unblock():
        yield made
        databases.close_all()


@pytest.fixture
def three(table: Table) -> Table:
    """Three holders of a hybrid root, of whom two must sign."""
    table.perform("three holders")
    return table


def test_the_ceremony_of_the_document_is_played_through(three: Table) -> None:
    first = TrustBundle.load(three.folder / "trust.json")
    assert (2, 6) == (first.threshold, len(first.root))
    assert [] == [found for found in KeyStore(three.home).stored() if found.purpose == "root"]

    proposed, *_, adopted = three.perform("a change")
    assert (False, True) == (proposed["adopted"], adopted["adopted"])
    assert 7200 == load_trust(three.home).policy.lease_ttl

    gone = three.key("eve", ED25519).stem.partition("-")[2]
    three.perform("a new holder")
    newest = load_trust(three.home)
    assert (3, 6) == (newest.version, len(newest.root))
    assert gone not in {key.keyid for key in newest.root}
    # A client that pinned the first version goes along with two holders' signatures.
    assert newest == first.update(newest.data)
    assert [1, 2, 3] == [row.entry.version for row in history() if row.entry is not None]
    assert "all agree" in three.say("audit", "verify").stdout


def test_nothing_of_the_ceremony_is_for_others(three: Table) -> None:
    three.perform("a change")
    secret = [
        *three.folder.glob("*/root-*.pem"),
        three.folder / "change.json",
        three.folder / "ada" / "trust-seen.json",
    ]
    assert [] == [path for path in secret if stat.S_IMODE(path.stat().st_mode) & 0o077]


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "add", "--purpose", "lease"),
        ("keys", "retire", "LICENSE"),
        ("policy", "set", "--lease-ttl", "7200"),
        ("trust", "revoke-key", "LICENSE", "--yes"),
        ("trust", "rotate", "--threshold", "1"),
    ],
    ids=" ".join,
)
def test_every_change_waits_for_its_signatures_or_is_made_at_once(three: Table, words: tuple[str, ...]) -> None:
    keyid = load_trust(three.home).keys[0].key.keyid
    command = [keyid if word == "LICENSE" else word for word in words]

    waiting = three.do(*command)
    assert (False, []) == (waiting["adopted"], waiting["signed"])
    assert ["2 of the ed25519", "2 of the ml-dsa-65"] == [
        words.rpartition(" root keys")[0] for words in waiting["missing"]
    ]
    assert 1 == load_trust(three.home).version
    assert Path(waiting["proposal"]).parent == three.home / "proposals"

    three.at_once("policy", "set", "--lease-ttl", "9000")
    stale = three.say("trust", "adopt", waiting["proposal"])
    assert 3 == stale.exit_code
    assert stale.stderr.startswith("TRUST_ROLLBACK: the proposal changes version 1")
    assert "Make the change again" in stale.stderr
    assert 3 == three.at_once(*command)["trust_version"]


def test_one_holder_signs_at_the_issuers_computer_the_other_elsewhere(three: Table) -> None:
    ada = ("--root-keys", str(three.folder / "ada"), "--root-passphrase-file", str(three.passphrase_of("ada")))
    waiting = three.do("policy", "set", "--lease-ttl", "7200", *ada)
    assert 2 == len(waiting["signed"])
    signed = three.do(
        "trust", "sign", waiting["proposal"], "--key", str(three.folder / "eve"), "--yes", passphrase="eve"
    )
    assert (True, []) == (signed["complete"], signed["missing"])
    assert 2 == three.do("trust", "adopt", waiting["proposal"])["trust_version"]


def test_copies_that_were_signed_apart_are_adopted_together(three: Table) -> None:
    change = three.do("policy", "set", "--lease-ttl", "7200")["proposal"]
    copies = [three.folder / f"{holder}.json" for holder in ("ada", "bob")]
    for copy in copies:
        copy.write_bytes(Path(change).read_bytes())
        three.do("trust", "sign", str(copy), "--key", str(three.folder / copy.stem), "--yes", passphrase=copy.stem)
        assert "KEY_UNAVAILABLE: the proposal lacks signatures" in three.say("trust", "adopt", str(copy)).stderr
    assert 2 == three.do("trust", "adopt", *map(str, copies))["trust_version"]
    assert "ALREADY_EXISTS" in three.say("trust", "adopt", str(copies[0])).stderr


def test_signing_shows_first_and_then_asks(three: Table) -> None:
    change = three.do("trust", "revoke-key", load_trust(three.home).keys[0].key.keyid, "--yes")["proposal"]
    before = Path(change).read_bytes()
    asked = three.say("trust", "sign", change, "--key", str(three.folder / "ada"), passphrase="ada")
    assert 1 == asked.exit_code
    assert re.search(r"key [0-9a-f]{32} \(license\): active -> compromised", asked.stdout)
    assert "NOT_CONFIRMED" in asked.stderr
    assert before == Path(change).read_bytes()


def test_who_is_no_holder_or_has_signed_is_told(three: Table) -> None:
    change = three.do("policy", "set", "--lease-ttl", "7200")["proposal"]
    three.do("trust", "new-root", str(three.folder / "zoe"), passphrase="zoe")
    stranger = str(three.key("zoe", ED25519))
    told = three.say("trust", "sign", change, "--key", stranger, "--yes", passphrase="zoe")
    assert (2, True) == (told.exit_code, "is a root key of neither version" in told.stderr)
    told = three.say("trust", "sign", change, "--key", str(three.folder / "zoe"), "--yes", passphrase="zoe")
    assert (3, True) == (told.exit_code, "holds no root key" in told.stderr)
    ada = str(three.key("ada", ED25519))
    wrong = three.say("trust", "sign", change, "--key", ada, "--yes", passphrase="bob")
    assert (3, True) == (wrong.exit_code, "wrong passphrase" in wrong.stderr)
    three.do("trust", "sign", change, "--key", ada, "--yes", passphrase="ada")
    again = three.say("trust", "sign", change, "--key", ada, "--yes", passphrase="ada")
    assert (1, True) == (again.exit_code, "has signed already" in again.stderr)


def test_a_holder_notices_an_old_starting_point(three: Table) -> None:
    old = three.do("policy", "set", "--lease-ttl", "7300")["proposal"]
    three.perform("a change")
    newer = three.do("keys", "add", "--purpose", "lease")["proposal"]
    eve = ("--key", str(three.folder / "eve"), "--yes")
    three.do("trust", "sign", newer, *eve, passphrase="eve")
    refused = three.say("trust", "sign", old, *eve, passphrase="eve")
    assert (3, True) == (refused.exit_code, refused.stderr.startswith("TRUST_ROLLBACK: "))
    # Bob has seen neither: he names what he knows.
    bob = ("--key", str(three.folder / "bob"), "--yes", "--present")
    current = three.folder / "current.json"
    three.do("trust", "export", str(current))
    refused = three.say("trust", "sign", old, *bob, str(current), passphrase="bob")
    assert "changes another trust bundle than" in refused.stderr
    known = three.say("trust", "sign", newer, *bob, str(current), passphrase="bob")
    assert (0, False) == (known.exit_code, "Ask somebody you trust" in known.stderr)


def test_a_holder_signs_one_bundle_of_a_version_unless_the_other_was_dropped(three: Table) -> None:
    revoked = load_trust(three.home).keys[0].key.keyid
    first = three.do("trust", "revoke-key", revoked, "--yes")
    other = three.do("policy", "set", "--lease-ttl", "8000")
    ada = ("--key", str(three.folder / "ada"), "--yes")
    three.do("trust", "sign", first["proposal"], *ada, passphrase="ada")
    before = Path(other["proposal"]).read_bytes()

    refused = three.say("trust", "sign", other["proposal"], *ada, passphrase="ada")
    assert (3, True) == (refused.exit_code, refused.stderr.startswith("TRUST_INVALID: this key has signed another"))
    assert re.search(rf"key {revoked} \(license\): compromised -> active", refused.stdout)
    wrong = ("--instead-of", "sha256:" + "0" * 64)
    assert 3 == three.say("trust", "sign", other["proposal"], *ada, *wrong, passphrase="ada").exit_code
    present = three.folder / "trust.json"
    assert (
        3 == three.say("trust", "sign", other["proposal"], *ada, "--present", str(present), passphrase="ada").exit_code
    )
    assert before == Path(other["proposal"]).read_bytes()

    digest = three.do("trust", "review", first["proposal"])["digest"]
    three.do("trust", "sign", other["proposal"], *ada, "--instead-of", digest, passphrase="ada")
    # What counts from now on is the one signed last.
    assert 3 == three.say("trust", "sign", first["proposal"], *ada, passphrase="ada").exit_code


def test_a_holder_who_left_one_version_to_the_others_goes_on_without_an_alarm(three: Table) -> None:
    three.perform("a new holder")  # Bob signs version 2, in which Zoe comes and Eve goes
    for ttl, holders in (("7300", ("ada", "zoe")), ("7400", ("bob", "zoe"))):
        change = three.do("policy", "set", "--lease-ttl", ttl)["proposal"]
        for holder in holders:
            three.do("trust", "sign", change, "--key", str(three.folder / holder), "--yes", passphrase=holder)
        three.do("trust", "adopt", change)
    assert 4 == load_trust(three.home).version


def test_a_bundle_that_was_seen_is_not_forgotten_for_an_older_one(three: Table) -> None:
    old = three.do("policy", "set", "--lease-ttl", "7300")["proposal"]
    three.perform("a change")
    first = three.folder / "trust.json"
    eve = ("--key", str(three.folder / "eve"), "--yes")
    newer = three.do("keys", "add", "--purpose", "lease")["proposal"]
    three.do("trust", "sign", newer, *eve, passphrase="eve")
    digest = three.do("trust", "review", newer)["digest"]
    refused = three.say("trust", "sign", old, *eve, "--present", str(first), passphrase="eve")
    assert (3, True) == (refused.exit_code, "has signed another version 3" in refused.stderr)

    told = three.say("trust", "sign", old, *eve, "--present", str(first), "--instead-of", digest, passphrase="eve")
    assert (0, True) == (told.exit_code, "version 2 was seen here before" in told.stderr)
    assert 2 == TrustBundle.load(three.folder / "eve" / "trust-seen.json").version


def test_who_signs_for_the_first_time_sees_the_whole_policy(three: Table) -> None:
    change = three.do("policy", "set", "--lease-ttl", "7200")["proposal"]
    ada = ("--key", str(three.folder / "ada"), "--yes")
    assert "The whole policy of the new version:" in three.say("trust", "sign", change, *ada, passphrase="ada").stdout
    three.do("trust", "sign", change, "--key", str(three.folder / "bob"), "--yes", passphrase="bob")
    three.do("trust", "adopt", change)
    change = three.do("policy", "set", "--lease-ttl", "7300")["proposal"]
    assert "The whole policy" not in three.say("trust", "sign", change, *ada, passphrase="ada").stdout


def test_a_damaged_note_is_no_empty_one(three: Table) -> None:
    change = three.do("policy", "set", "--lease-ttl", "7200")["proposal"]
    for name in ("trust-seen.json", "trust-signed.json"):
        note = three.folder / "ada" / name
        note.write_bytes(b"{}")
        told = three.say("trust", "sign", change, "--key", str(three.folder / "ada"), "--yes", passphrase="ada")
        assert (3, True) == (told.exit_code, "is damaged" in told.stderr)
        note.unlink()


def test_a_forgotten_key_is_not_made_on_the_issuers_computer(three: Table) -> None:
    three.do("trust", "new-root", str(three.folder / "zoe"), "--hybrid", passphrase="zoe")
    gone = [three.key("eve", algorithm).stem.partition("-")[2] for algorithm in (ED25519, ML_DSA_65)]
    words = ["trust", "rotate", *[word for keyid in gone for word in ("--key", keyid)]]
    keys = sorted((three.home / "keys").iterdir())
    for given in ([], ["--new", str(three.key("zoe", ED25519, ".pub"))]):
        refused = three.say(*words, *given)
        assert (2, True) == (refused.exit_code, "no key is given for" in refused.stderr)
    assert keys == sorted((three.home / "keys").iterdir())
    made = three.do(*words, "--make-here")
    assert (2, 2) == (len(made["new"]), len(made["signed"]))
    assert f"{made['new'][0]} is new and has signed already" in three.say("trust", "review", made["proposal"]).stdout


def test_a_folder_with_a_root_key_gets_another_only_where_that_is_said(three: Table) -> None:
    zoe = str(three.folder / "zoe")
    three.do("trust", "new-root", zoe, passphrase="zoe")
    refused = three.say("trust", "new-root", zoe, passphrase="zoe")
    assert (1, True) == (refused.exit_code, refused.stderr.startswith("ALREADY_EXISTS"))
    assert 1 == len(list((three.folder / "zoe").glob("root-*.pem")))
    three.do("trust", "new-root", zoe, "--another", passphrase="zoe")


def test_a_wrong_passphrase_is_told_and_no_holder_elsewhere(three: Table) -> None:
    own = [word for holder in ("ada", "bob") for word in ("--root-keys", str(three.folder / holder))]
    files = [word for who in ("ada", "zoe") for word in ("--root-passphrase-file", str(three.passphrase_of(who)))]
    refused = three.say("policy", "set", "--lease-ttl", "7001", *own, *files)
    assert (3, True) == (refused.exit_code, "wrong passphrase" in refused.stderr)
    assert "If its holder signs elsewhere, leave that signature open: --proposal FILE." in refused.stderr
    assert not (three.home / "proposals").exists()
    waiting = three.do("policy", "set", "--lease-ttl", "7001", *own, *files, "--proposal", str(three.folder / "c.json"))
    assert 2 == len(waiting["signed"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--root-keys", "2", "--root-threshold", "3"), "of 2 root key(s) 3 cannot sign"),
        (("--root-keys", "6", "--hybrid"), "at most 5 holders"),
        (("--root-keys", "8", "--root-threshold", "8"), "no root key could be replaced"),
        (("--root-keys", "4", "--root-threshold", "4", "--hybrid"), "no root key could be replaced"),
        (("--root-keys", "3", "--root-folder", "ada", "--root-folder", "bob"), "3 root key holders and 2 folders"),
    ],
)
def test_roots_that_could_not_work_are_refused_before_anything_is_made(
    table: Table, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(table.folder)
    result = table.say("init", *words)
    assert (2, True) == (result.exit_code, said in result.stderr)
    assert not table.home.exists()
    assert [] == [*table.folder.glob("*/root-*")]


def test_a_failed_init_leaves_no_root_key_on_a_stick(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("keyseat_issuer.server.creation.migrate", fail)
    result = table.say("init", "--root-keys", "2", "--root-folder", str(table.folder / "ada"))
    assert 3 == result.exit_code
    assert [] == [*table.folder.glob("*/root-*")]


def test_a_single_root_key_that_is_away_is_asked_for_or_the_change_is_carried_to_it(table: Table) -> None:
    table.do("init", "--root-folder", str(table.folder / "ada"))
    refused = table.say("keys", "add", "--purpose", "lease")
    assert (3, True) == (refused.exit_code, "--proposal FILE" in refused.stderr)
    assert not (table.home / "proposals").exists()
    change = str(table.folder / "change.json")
    added = table.do("keys", "add", "--purpose", "lease", "--proposal", change)["keyid"]
    table.do("trust", "sign", change, "--key", str(table.folder / "ada"), "--yes")
    table.do("trust", "adopt", change)
    assert added == load_trust(table.home).keys[-1].key.keyid
    assert KeyStore(table.home).find(added) is not None


def test_an_issuer_of_before_hybrid_roots_is_warned_and_gets_one(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    make = creation._make_root_keys

    def one(building: Path, roots: creation.RootPlan, passphrase: str, _: object, elsewhere: list[Path]) -> object:
        return make(building, roots, passphrase, (ED25519,), elsewhere)

    with monkeypatch.context() as patch:
        patch.setattr(creation, "_make_root_keys", one)
        table.do("init", "--hybrid", "--no-sunset")
    for words in (("trust", "show"), ("keys", "add", "--purpose", "lease"), ("trust", "rotate", "--hybrid")):
        result = table.say(*words)
        assert (0, True) == (result.exit_code, "`keyseat-issuer trust rotate --hybrid` adds one" in result.stderr)
    assert (0, "") == (table.say("trust", "show").exit_code, table.say("trust", "show").stderr)
    assert [ED25519, ML_DSA_65] == [key.algorithm for key in load_trust(table.home).root]


class Box(CryptoSigner):
    """A device with one key, at ``box:1``."""

    key = Ed25519PrivateKey.from_private_bytes(b"b" * 32)

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: object = None) -> "Box":
        """Open the key."""
        assert ("box:1", True) == (priv_key_uri, secrets_handler is not None)
        return cls(cls.key, public_key)


def test_a_root_key_may_live_in_a_device(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "box", Box)
    public = table.folder / "box.pem"
    public.write_bytes(Box.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    table.do("init", "--no-sunset")
    assert 2 == table.say("trust", "rotate", "--uri", "box:1").exit_code
    added = table.do("trust", "rotate", "--new", str(public), "--uri", "box:1")
    assert 2 == added["trust_version"]
    newest = load_trust(table.home)
    assert [Box.key.public_key().public_bytes_raw()] == [key.raw for key in newest.root]
    # At the issuer's computer, and away from it by the file that names the device.
    assert 3 == table.do("policy", "set", "--lease-ttl", "7200")["trust_version"]
    device = table.home / "keys" / f"root-{newest.root[0].keyid}.uri"
    away = device.rename(table.folder / device.name)
    change = str(table.folder / "change.json")
    table.do("policy", "set", "--lease-ttl", "7300", "--proposal", change)
    table.do("trust", "sign", change, "--key", str(away), "--yes")
    assert 4 == table.do("trust", "adopt", change)["trust_version"]
