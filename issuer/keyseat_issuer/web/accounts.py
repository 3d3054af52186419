"""What an operator does to accounts: see them, shut one off, take a lost second factor away, name staff."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from django.contrib.sessions.models import Session
from django.urls import reverse

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.customers import claims, inviters
from keyseat_issuer.ledger.customers.members import normalize_email
from keyseat_issuer.ledger.customers.naming import unknown
from keyseat_issuer.ledger.models import Organization
from keyseat_issuer.web import tokens
from keyseat_issuer.web.models import User
from keyseat_issuer.web.origin import origin_of
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError


def list_accounts() -> list[User]:
    """Return all accounts by address."""
    return list(User.objects.order_by("email"))


def with_account(emails: Collection[str]) -> set[str]:
    """Return those of these addresses that belong to an account."""
    return set(User.objects.filter(email__in=emails).values_list("email", flat=True))


def names_of(emails: Collection[str]) -> Mapping[str, str]:
    """Return the names of the people with these addresses, as far as they have an account."""
    return dict(User.objects.filter(email__in=emails).values_list("email", "name")) if emails else {}


def of_members(organization: Organization) -> dict[str, User]:
    """Return the accounts of an organisation's members by address."""
    return {user.email: user for user in User.objects.filter(email__in=organization.memberships.values("email"))}


def with_second_factor() -> set[str]:
    """Return the addresses of the accounts that have a second factor."""
    return set(Authenticator.objects.values_list("user__email", flat=True))


def deactivate(email: str, *, actor: str, now: datetime) -> User:
    """Shut an account off: no sign-in, and what it is signed in on ends at once. Seats stay as they are.

    Invitations that it gave out end, in all its organisations.

    Raises:
        KeyseatError: ``NOT_FOUND``, ``INVALID_INPUT``.
    """

    def shut(user: User) -> None:
        user.is_active = False
        user.save(update_fields=("is_active",))
        tokens.end_all(user, now)
        _end_browser_sessions(user, now)
        inviters.end_everywhere(inviters.of_user(user.email), because="account shut off", actor=actor, now=now)

    return _act("account.deactivated", email, shut, actor=actor, now=now)


def activate(email: str, *, actor: str, now: datetime) -> User:
    """Let an account that was shut off sign in again.

    Raises:
        KeyseatError: ``NOT_FOUND``, ``INVALID_INPUT``.
    """

    def let_in(user: User) -> None:
        user.is_active = True
        user.save(update_fields=("is_active",))

    return _act("account.activated", email, let_in, actor=actor, now=now)


def forget_second_factor(email: str, *, actor: str, now: datetime) -> User:
    """Remove the second factor and recovery codes of somebody who lost both; the password alone signs in then.

    Raises:
        KeyseatError: ``NOT_FOUND``, ``INVALID_INPUT``.
    """

    def forget(user: User) -> None:
        Authenticator.objects.filter(user=user).delete()
        # The signed-in person may be the reason for the call.
        tokens.end_all(user, now)
        _end_browser_sessions(user, now)

    return _act("account.second-factor-removed", email, forget, actor=actor, now=now)


def reset_link(email: str, *, actor: str, now: datetime) -> str:
    """Return a link that lets an account set a new password, for an operator to hand over; it works once.

    Raises:
        KeyseatError: ``NOT_FOUND``, ``INVALID_INPUT``; ``NOT_ALLOWED`` where the account is shut off.
    """

    def require_active(user: User) -> None:
        if not user.is_active:
            raise KeyseatError(
                ReasonCode.NOT_ALLOWED,
                f"the account {user.email} is shut off",
                cause=Cause.ACCOUNT_SHUT_OFF,
            )

    user = _act("account.reset-link-made", email, require_active, actor=actor, now=now)
    parts = {"uidb36": user_pk_to_url_str(user), "key": default_token_generator.make_token(user)}
    return origin_of() + reverse("account_reset_password_from_key", kwargs=parts)


def set_staff(email: str, *, staff: bool, actor: str, now: datetime, vouched: bool = False) -> User:
    """Let an account into the vendor's staff pages, or no longer. ``vouched``: whose it is, is known.

    Raises:
        KeyseatError: ``NOT_FOUND``, ``INVALID_INPUT``, ``ADDRESS_UNPROVEN``.
    """

    def change(user: User) -> None:
        if staff and not vouched:
            claims.require_proven([user.email], None, None)
        user.is_staff = user.is_superuser = staff
        user.save(update_fields=("is_staff", "is_superuser"))

    return _act("account.staff-granted" if staff else "account.staff-ended", email, change, actor=actor, now=now)


def _act(action: str, email: str, change: Callable[[User], None], *, actor: str, now: datetime) -> User:
    wanted = normalize_email(email)
    with log.act(action, actor=actor, organization=None, subject=wanted, now=now) as at:
        user = User.objects.select_for_update().filter(email=wanted).first()
        if user is None:
            known = User.objects.values_list("email", flat=True)
            raise unknown("account", wanted, known, cause=Cause.ACCOUNT_UNKNOWN)
        change(user)
        log.append(actor=actor, action=action, organization=None, subject=wanted, details={}, now=at)
    return user


def _end_browser_sessions(user: User, now: datetime) -> None:
    # Sessions are opaque to the database, so all live ones are opened: an act of an operator, and rare.
    mine = str(user.pk)
    live = Session.objects.filter(expire_date__gt=now)
    ended = [row.pk for row in live.iterator() if row.get_decoded().get("_auth_user_id") == mine]
    Session.objects.filter(pk__in=ended).delete()
