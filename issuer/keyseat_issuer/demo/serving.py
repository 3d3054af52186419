"""`demo --serve`: a small organisation of today on a running service, to click and to call."""

import secrets
from datetime import timedelta
from typing import Any, NamedTuple

from keyseat_issuer.cli.output import Output
from keyseat_issuer.demo import acts
from keyseat_issuer.demo.stage import ACTOR, ADA, BOB, ORGANIZATION, Stage
from keyseat_shared.instants import add_years, now_utc
from keyseat_shared.policy import default_policy

_KSE, _KRE = 5, 3
_DAYS = 30
"""How long ago the organisation bought."""


class Seeded(NamedTuple):
    """What a visitor needs: the password of the people, an API key, and the passphrase that unlocks the lease key."""

    password: str
    api_key: str
    passphrase: str


def seed(stage: Stage) -> Seeded:
    """Make an issuer without a sunset, an organisation with two people, seats, an API key and a month of use."""
    from keyseat_issuer.ledger.audit.ledger_time import story_time  # late: loads Django

    with story_time():
        return _seed(stage)


def _seed(stage: Stage) -> Seeded:
    from keyseat_issuer.home import write_private
    from keyseat_issuer.server.creation import create_issuer  # late: loads Django

    today = now_utc()
    now = today.replace(hour=0, minute=0, second=0) - timedelta(days=_DAYS)
    passphrase, password = secrets.token_urlsafe(16), secrets.token_urlsafe(9)
    policy = default_policy(sunset=None)
    made = create_issuer(stage.vendor, vendor="Demo Vendor", policy=policy, passphrase=passphrase, actor=ACTOR, now=now)
    write_private(stage.trust_file, made.trust.data)
    from keyseat_issuer.demo import history
    from keyseat_issuer.ledger.customers import api_keys, members, organizations, subscriptions
    from keyseat_issuer.ledger.models import Role, Term
    from keyseat_issuer.ledger.seats import seats

    at: dict[str, Any] = {"actor": ACTOR, "now": now}
    organization = organizations.add_organization(ORGANIZATION, **at)
    members.add_members(organization, [ADA], Role.OWNER, **at)
    members.add_members(organization, [BOB], Role.MEMBER, **at)
    subscriptions.add_subscription(
        organization,
        term=Term.ANNUAL,
        starts_at=now,
        ends_at=add_years(now, 1),
        products={"KSE": _KSE, "KRE": _KRE},
        policy=policy,
        **at,
    )
    seats.assign(organization, "KSE", [BOB], policy=policy, **at)
    key = api_keys.create_key(organization, ["sessions"], name="demo", expires_at=None, **at)
    history.play(key.row, policy, today, _DAYS)
    for email, name in ((ADA, "Ada"), (BOB, "Bob")):
        _make_account(email, name, password)
    return Seeded(password, key.text, passphrase)


def _make_account(email: str, name: str, password: str) -> None:
    from allauth.account.models import EmailAddress

    from keyseat_issuer.web.models import User

    user = User.objects.create_user(email, password, name=name)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)


def serve_seeded(output: Output, stage: Stage, bind: str) -> int:
    """Seed the stage and serve it until stopped; return the exit code."""
    from keyseat_issuer.server import server  # late: the other acts need no server

    sock = server.bind(bind)
    url = server.url_of(sock)
    if not output.json:
        output.say("Making keys, ledger and people; this takes some seconds.")
    acts.machine(stage)
    seeded = seed(stage)
    key_file = stage.desk / "api-key"
    key_file.write_text(seeded.api_key + "\n")
    key_file.chmod(0o600)
    from keyseat_issuer.server.start import prepare

    make_app = prepare(lambda: seeded.passphrase, with_license_key=True)

    def human() -> None:
        output.print(f"{ORGANIZATION} is served at {url} until you press Ctrl-C; then all of it is deleted.", "bold")
        for label, text in (
            ("sign in", f"{url}/ as {ADA} (owner) or {BOB} (member, has a KSE seat); password {seeded.password}"),
            ("look", "as the owner: Manage licences, on the page after signing in"),
            ("call", f"{url}/api/v1, described in {url}/openapi.json; API key {seeded.api_key}"),
            ("command line", f"export KEYSEAT_ISSUER_HOME={stage.vendor}"),
            ("client", f"export KEYSEAT_HOME={stage.customer} KEYSEAT_TRUST={stage.trust_file}"),
            ("", f"export KEYSEAT_SERVER={url} KEYSEAT_API_KEY_FILE={key_file}"),
            ("", "keyseat activate --product KRE"),
        ):
            output.print(f"  {label:<14}{text}")

    output.emit(
        {
            "url": url,
            "people": [ADA, BOB],
            "password": seeded.password,
            "api_key": seeded.api_key,
            "issuer_home": stage.vendor,
            "client_home": stage.customer,
            "trust": stage.trust_file,
        },
        human,
    )
    return server.serve(sock, make_app)
