"""What a list is narrowed down to, as somebody typed it: a typing error must not look like "there is none"."""

from typing import TYPE_CHECKING

from keyseat_issuer.cli.output import Output

if TYPE_CHECKING:
    from keyseat_issuer.ledger.models import Organization


def check_product(organization: "Organization", typed: str | None) -> None:
    """Require that a product is one that the organisation has had, or one of the catalogue.

    Raises:
        KeyseatError: ``NOT_FOUND`` with ``did_you_mean``; the codes of a trust bundle that cannot be read.
    """
    from keyseat_issuer.ledger.customers import subscriptions

    bought = subscriptions.products(organization)
    # The catalogue last: what was bought is listed also where no trust bundle is, or no longer has the product.
    if typed is None or typed in bought:
        return
    from keyseat_issuer.home import issuer_home
    from keyseat_issuer.ledger.customers.naming import unknown
    from keyseat_issuer.trust.history import current_trust

    known = sorted({*bought, *current_trust(issuer_home()).policy.products})
    if typed not in known:
        raise unknown("product", typed, known, f"The catalogue holds {', '.join(known)}.")


def hint_nobody(output: Output, organization: "Organization | None", email: str) -> None:
    """Warn that nothing was found because nobody has this address: in the organisation or, without one, anywhere.

    No refusal: who was a member once may have left licences behind.
    """
    from keyseat_issuer.ledger.customers.members import not_a_member
    from keyseat_issuer.ledger.models import Membership

    members = Membership.objects.all() if organization is None else organization.memberships
    if not members.filter(email=email).exists():
        output.warn(not_a_member(organization, email).message)
