"""What contenders do in races for offline licences (see ``races``); each task gets its number first."""

import offline_shop
from keyseat_issuer.ledger.offline import licenses


def issue_named(number: int) -> str:
    """Issue a licence to the member of this number, for a machine of its own."""
    wanted = offline_shop.request(user=f"user{number}@example.com", machine_id=offline_shop.numbered_machine(number))
    licenses.issue(wanted, offline_shop.terms())
    return "issued"


def issue_floating(number: int) -> str:
    """Issue a licence for a session on a machine of its own."""
    wanted = offline_shop.request("KRE", machine_id=offline_shop.numbered_machine(number))
    licenses.issue(wanted, offline_shop.terms())
    return "issued"


def issue_same(_number: int) -> str:
    """Issue the very same licence as everybody else."""
    licenses.issue(offline_shop.request(), offline_shop.terms())
    return "issued"
