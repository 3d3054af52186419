"""Tokens of signed-in clients: who they stand for, how long, and what ends them."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from allauth.account.signals import password_changed

import token_tasks
from databases import Ledger
from keyseat_issuer.server import django
from keyseat_issuer.web import device, limits, tokens
from keyseat_issuer.web.models import ClientSignIn, DeviceAuthorization, User, UserToken
from keyseat_shared.instants import format_instant
from races import race

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def ada(ledger: Ledger) -> User:
    return User.objects.create_user("ada@example.com", None)


def signed_in(user: User, now: datetime = NOW, scopes: str = "sessions admin") -> tokens.TokenPair:
    return tokens.sign_in(user, client_id="keyseat", scopes=scopes, device_name="build-7", now=now)


class TestAnAccessToken:
    def test_names_its_user_and_scopes_for_an_hour(self, ada: User) -> None:
        token = signed_in(ada).access_token

        expected = tokens.UserIdentity("ada@example.com", str(ada.pk), frozenset({"sessions", "admin"}), None)
        assert expected == tokens.authenticate(token, NOW + timedelta(hours=1) - SECOND)
        assert tokens.authenticate(token, NOW + timedelta(hours=1)) is None

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_that_is_none_of_ours_is_nobodys(self, ada: User) -> None:
        pair = signed_in(ada)
        wrong = (
            pair.refresh_token,
            pair.access_token[:-1],
            pair.access_token + "A",
            "",
            "ksu_",
            "ksu_\ud800",
            "x" * 999,
        )

        assert [None] * len(wrong) == [tokens.authenticate(token, NOW) for token in wrong]

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_of_a_deactivated_account_is_refused(self, ada: User) -> None:
        pair = signed_in(ada)
        User.objects.update(is_active=False)

        assert tokens.authenticate(pair.access_token, NOW) is None
        assert tokens.refresh(pair.refresh_token, "keyseat", NOW) is None

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_is_kept_as_a_hash_only(self, ada: User) -> None:
        pair = signed_in(ada)

        stored = " ".join(str(row) for row in [*UserToken.objects.values(), *ClientSignIn.objects.values()])
        assert pair.access_token[4:] not in stored
        assert pair.refresh_token[4:] not in stored


class TestARefreshToken:
    def test_gives_a_new_pair_and_slides_on(self, ada: User) -> None:
        later = NOW + timedelta(days=59)
        pair = tokens.refresh(signed_in(ada, scopes="sessions").refresh_token, "keyseat", later)

        assert pair is not None
        assert tokens.authenticate(pair.access_token, later) is not None
        assert tokens.refresh(pair.refresh_token, "keyseat", later + timedelta(days=59)) is not None

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_ends_after_sixty_days_without_use(self, ada: User) -> None:
        late = NOW + timedelta(days=60)
        assert tokens.refresh(signed_in(ada, scopes="sessions").refresh_token, "keyseat", late) is None

    def test_gives_the_same_pair_again_within_a_minute_because_an_answer_may_be_lost(self, ada: User) -> None:
        first = signed_in(ada).refresh_token
        lost = tokens.refresh(first, "keyseat", NOW)
        again = tokens.refresh(first, "keyseat", NOW + 60 * SECOND)

        assert lost is not None
        assert lost._replace(expires_in=3540) == again
        assert tokens.authenticate(lost.access_token, NOW + 60 * SECOND) is not None

    def test_used_again_after_the_next_one_was_used_ends_everything_even_within_the_minute(self, ada: User) -> None:
        first = signed_in(ada).refresh_token
        second = tokens.refresh(first, "keyseat", NOW)
        assert second is not None
        third = tokens.refresh(second.refresh_token, "keyseat", NOW + SECOND)
        assert third is not None

        assert 1 == UserToken.objects.exclude(next_pair="").count()  # of the last one used
        assert tokens.refresh(first, "keyseat", NOW + 2 * SECOND) is None
        assert tokens.authenticate(third.access_token, NOW + 2 * SECOND) is None
        assert tokens.refresh(third.refresh_token, "keyseat", NOW + 2 * SECOND) is None

    def test_shared_by_thief_and_owner_within_the_minute_is_one_chain_that_ends_when_they_part(self, ada: User) -> None:
        stolen = signed_in(ada).refresh_token
        owner, thief = (tokens.refresh(stolen, "keyseat", NOW + after * SECOND) for after in (0, 30))
        assert owner is not None
        assert thief is not None
        hour = NOW + timedelta(hours=1)
        going_on = tokens.refresh(owner.refresh_token, "keyseat", hour)
        assert going_on is not None

        assert tokens.refresh(thief.refresh_token, "keyseat", hour + timedelta(minutes=5)) is None
        assert tokens.refresh(going_on.refresh_token, "keyseat", hour + timedelta(minutes=5)) is None

    @pytest.mark.parametrize(("scopes", "longest"), [("sessions", tokens.LONGEST), ("admin", tokens.LONGEST_ADMIN)])
    def test_carries_a_sign_in_no_further_than_its_longest_age(
        self, ada: User, scopes: str, longest: timedelta
    ) -> None:
        pair: tokens.TokenPair | None = signed_in(ada, scopes=scopes)
        now, end = NOW, NOW + longest
        while (following := now + timedelta(days=10)) < end:
            now = following
            assert pair is not None
            pair = tokens.refresh(pair.refresh_token, "keyseat", now)
        assert pair is not None
        last = tokens.refresh(pair.refresh_token, "keyseat", end - 10 * SECOND)

        assert last is not None
        assert 10 == last.expires_in
        assert tokens.refresh(last.refresh_token, "keyseat", end) is None
        assert tokens.authenticate(last.access_token, end) is None

    def test_of_a_sign_in_that_is_too_old_already_when_the_server_learns_of_the_rule_ends_it(self, ada: User) -> None:
        pair = signed_in(ada)
        ClientSignIn.objects.update(created_at=NOW - timedelta(days=300))

        assert tokens.refresh(pair.refresh_token, "keyseat", NOW) is None
        assert tokens.authenticate(pair.access_token, NOW) is None

    def test_sent_by_many_at_once_gives_all_of_them_the_same_pair(self, ada: User, ledger: Ledger) -> None:
        first = signed_in(ada).refresh_token
        lines = race(ledger, "token_tasks:refresh", 6, settings=django.SETTINGS, token=first, now=format_instant(NOW))

        assert 6 == len(lines)
        assert 1 == len({str(line["result"]) for line in lines})
        assert 4 == UserToken.objects.count()  # two pairs

    @pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
    def test_whose_server_is_killed_before_it_answers_works_again(self, ada: User, ledger: Ledger, moment: str) -> None:
        first = signed_in(ada).refresh_token
        script = (
            "from keyseat_issuer.server.django import setup; setup(); import token_tasks; "
            f"token_tasks.die({first!r}, {format_instant(NOW)!r}, {moment!r})"
        )
        environ = ledger.env | {"PYTHONPATH": str(Path(token_tasks.__file__).parent)}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False, timeout=120
        )
        assert -signal.SIGKILL == done.returncode, done.stderr

        again = tokens.refresh(first, "keyseat", NOW + 30 * SECOND)
        assert again is not None
        assert tokens.authenticate(again.access_token, NOW + 30 * SECOND) is not None
        assert tokens.refresh(again.refresh_token, "keyseat", NOW + timedelta(minutes=50)) is not None
        assert 6 == UserToken.objects.count()  # three pairs: nothing was lost, and nothing doubled

    def test_used_again_after_a_minute_ends_the_sign_in_of_thief_and_owner(self, ada: User) -> None:
        stolen = signed_in(ada).refresh_token
        owner = tokens.refresh(stolen, "keyseat", NOW)
        late = NOW + 61 * SECOND

        assert owner is not None
        assert tokens.refresh(stolen, "keyseat", late) is None
        assert tokens.authenticate(owner.access_token, late) is None
        assert tokens.refresh(owner.refresh_token, "keyseat", late) is None

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_of_another_client_is_refused(self, ada: User) -> None:
        assert tokens.refresh(signed_in(ada).refresh_token, "other", NOW) is None


class TestASignIn:
    def test_ends_at_once_with_all_its_tokens_and_no_other(self, ada: User) -> None:
        first, second = signed_in(ada), signed_in(ada)
        tokens.revoke(first.access_token, "keyseat", NOW)

        assert tokens.authenticate(first.access_token, NOW) is None
        assert tokens.refresh(first.refresh_token, "keyseat", NOW) is None
        assert tokens.authenticate(second.access_token, NOW) is not None

    @pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
    def test_ends_when_the_password_changes(self, ada: User) -> None:
        pair = signed_in(ada)
        password_changed.send(sender=User, request=None, user=ada)

        assert tokens.authenticate(pair.access_token, NOW) is None


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
class TestADeviceCode:
    def start(self, now: datetime = NOW) -> device.Started:
        return device.start(client_id="keyseat", scopes=(), device_name="", address=None, now=now)

    def test_expires_after_a_quarter_of_an_hour_and_says_so(self, ada: User) -> None:
        started = self.start()
        end = NOW + device.CODE_TTL

        assert device.find(started.user_code, end - SECOND) is not None
        assert device.find(started.user_code, end) is None
        assert device.Poll("expired_token") == device.poll(started.device_code, "keyseat", end)

    def test_cannot_be_approved_or_collected_late(self, ada: User) -> None:
        started = self.start()
        asked = device.find(started.user_code, NOW)
        assert asked is not None
        end = NOW + device.CODE_TTL

        assert not device.decide(asked, ada, approve=True, now=end)
        assert device.decide(asked, ada, approve=True, now=end - SECOND)
        assert device.Poll("expired_token") == device.poll(started.device_code, "keyseat", end)

    def test_is_answered_once(self, ada: User) -> None:
        started = self.start()
        asked = device.find(started.user_code, NOW)
        assert asked is not None

        assert [True, False] == [device.decide(asked, ada, approve=answer, now=NOW) for answer in (False, True)]
        assert device.Poll("access_denied") == device.poll(started.device_code, "keyseat", NOW)

    def test_polled_too_quickly_lengthens_the_interval_by_five_seconds_each_time(self, ada: User) -> None:
        code = self.start().device_code
        answers = [device.poll(code, "keyseat", NOW + after * SECOND).error for after in (0, 5, 9, 18, 33, 100)]

        pending, hasty = "authorization_pending", "slow_down"
        # 9 is 4 after 5: from then on 10; 18 is 9 after 9: from then on 15; 33 is 15 after 18.
        assert [pending, pending, hasty, hasty, pending, pending] == answers

    def test_approved_before_the_password_changed_gives_no_tokens_after(self, ada: User) -> None:
        started = self.start()
        asked = device.find(started.user_code, NOW)
        assert asked is not None
        assert device.decide(asked, ada, approve=True, now=NOW)
        password_changed.send(sender=User, request=None, user=ada)

        assert device.Poll("access_denied") == device.poll(started.device_code, "keyseat", NOW + 5 * SECOND)

    def test_belongs_to_the_client_it_was_given_to(self, ada: User) -> None:
        assert device.Poll("invalid_grant") == device.poll(self.start().device_code, "other", NOW)

    def test_gives_nothing_to_an_account_deactivated_meanwhile(self, ada: User) -> None:
        started = self.start()
        asked = device.find(started.user_code, NOW)
        assert asked is not None
        device.decide(asked, ada, approve=True, now=NOW)
        User.objects.update(is_active=False)

        assert device.Poll("access_denied") == device.poll(started.device_code, "keyseat", NOW)

    def test_is_kept_as_a_hash_only_and_so_is_the_user_code(self, ada: User) -> None:
        started = self.start()

        stored = str(DeviceAuthorization.objects.values().get())
        assert started.device_code not in stored
        assert started.user_code.replace("-", "") not in stored


def test_a_machines_name_is_one_printable_line() -> None:
    assert "build 7" == device.clean_device_name(" build\x1b\n\u202e 7 ")
    assert 64 == len(device.clean_device_name("x" * 999))


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_what_is_no_code_or_token_and_who_asks_too_often_do_not_wait_for_the_ledgers_lock(ledger: Ledger) -> None:
    """Anybody may send such requests, as many as they like: they must not stand in the way of those who may write."""
    limit = limits.Limit("test", 1, timedelta(minutes=1))
    assert limits.spend(limit, "192.0.2.1", NOW).allowed
    with contextlib.closing(sqlite3.connect(ledger.home / "ledger.sqlite3", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")

        assert device.Poll("invalid_grant") == device.poll("made up", "keyseat", NOW)
        assert tokens.refresh("ksr_made-up", "keyseat", NOW) is None
        assert limits.Spent(allowed=False, retry_after=60) == limits.spend(limit, "192.0.2.1", NOW)
