"""The demo's customer program: what embedding the client takes. Run as a process of its own; prints one JSON object.

Usage: python -m keyseat_issuer.demo.client PRODUCT TRUST_FILE NOW
"""

import json
import os
import sys
from datetime import datetime

from keyseat_verifier import KeyseatError, LicenseClient, TrustBundle
from keyseat_verifier._internal import account_place

_SOURCES = {"offline": "an offline licence", "lease": "a lease kept from before", "online": "a lease just fetched"}


def stay_apart() -> None:
    """Leave the account's own place alone: what the demo remembers goes with its folder."""
    account_place.candidates = lambda: [(os.environ["KEYSEAT_HOME"], ("account",))]


def main(product: str, trust_file: str, now: str) -> None:
    """Ask the client whether the program may run at ``now``; files, clock state and machine are the real ones."""
    stay_apart()
    client = LicenseClient(product, TrustBundle.load(trust_file))
    try:
        entitlement = client.check(datetime.fromisoformat(now))
    except KeyseatError as error:
        answer = error.to_dict()
    else:
        until = entitlement.expires_at.isoformat().replace("+00:00", "Z")
        what = f"entitled by {_SOURCES[entitlement.source]} of {entitlement.organization} until {until}"
        answer = {"code": "OK", "message": what, "next": ""}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
