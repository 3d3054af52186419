"""The demo's last acts: today, with a real service on loopback and the client going online by itself."""

import subprocess
import sys
from datetime import timedelta
from typing import Any

from keyseat_issuer.demo.acts import Played, answer_of
from keyseat_issuer.demo.stage import ACTOR, ORGANIZATION, Stage
from keyseat_shared.codes import ReasonCode
from keyseat_shared.instants import add_years, now_utc

_SERVE = "import sys; from keyseat_issuer.cli import main; sys.argv[0] = 'keyseat-issuer'; main()"
_SAYS = "Serving on "


def today(stage: Stage) -> Played:
    """Bring the story to the present: a lease key for today, a renewed subscription, and the service."""
    from keyseat_issuer.home import load_trust, write_private
    from keyseat_issuer.ledger.customers import api_keys, organizations, subscriptions
    from keyseat_issuer.ledger.models import Term
    from keyseat_issuer.trust.admin import TrustAdmin
    from keyseat_shared.trust import LEASE

    stage.now = now = now_utc()
    at: dict[str, Any] = {"actor": ACTOR, "now": now}
    TrustAdmin(stage.vendor, stage.passphrase, **at).add_key(LEASE)
    stage.trust = load_trust(stage.vendor)
    write_private(stage.trust_file, stage.trust.data)
    organization = organizations.find(ORGANIZATION)
    starts_at = now.replace(hour=0, minute=0, second=0) - timedelta(days=1)
    subscriptions.add_subscription(
        organization,
        term=Term.ANNUAL,
        starts_at=starts_at,
        ends_at=add_years(starts_at, 1),
        products={"KRE": 1},
        policy=stage.trust.policy,
        **at,
    )
    key = api_keys.create_key(organization, ["sessions"], name="demo", expires_at=None, **at)
    write_private(stage.api_key_file, key.text.encode() + b"\n")
    url = _start(stage)
    return Played(ReasonCode.OK, f"the lease key was renewed, the customer too, and the service listens at {url}")


def _start(stage: Stage) -> str:
    passphrase = stage.desk / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(stage.passphrase)
    options = ["--bind", "127.0.0.1:0", "--drain", "0", "--passphrase-file", str(passphrase)]
    stage.server = subprocess.Popen(  # noqa: S603 - our own interpreter and our own code
        [sys.executable, "-c", _SERVE, "serve", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    said = []
    for line in stage.server.stderr or ():
        said.append(line)
        if line.startswith(_SAYS):
            stage.server_url = line.removeprefix(_SAYS).split()[0]
            return stage.server_url
    msg = f"the service did not start: {''.join(said)[-500:]}"
    raise RuntimeError(msg)


def fallback(stage: Stage) -> Played:
    """Start the customer's CI program: no offline licence for it, so the client goes online in the same call."""
    return answer_of(stage.program("KRE", now_utc()))


def activate(stage: Stage) -> Played:
    """Activate for programs that start later: the lease stays on the customer's computer."""
    answer = stage.keyseat("activate", "--product", "KRE", "--trust", stage.trust_file)
    if answer["code"] != ReasonCode.OK:
        return answer_of(answer)
    return Played(
        ReasonCode.OK, f"a lease of {answer['organization']} until {answer['expires_at']}, kept on this computer"
    )


def outage(stage: Stage) -> Played:
    """Stop the service, and start the program again."""
    stage.stop_server()
    return answer_of(stage.program("KRE", now_utc()))
