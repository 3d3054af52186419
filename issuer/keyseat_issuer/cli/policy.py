"""`keyseat-issuer policy`: the vendor's rules, which are data in the trust bundle."""

import click

from keyseat_issuer.cli.output import Output, json_option, pass_output
from keyseat_issuer.cli.trust_access import Access, admin_options, open_admin, tell_pending
from keyseat_issuer.cli.trust_options import (
    checked,
    policy_lines,
    products_from,
    sunset_from,
)
from keyseat_issuer.home import load_trust
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import now_utc
from keyseat_shared.keys import ED25519, ML_DSA_65
from keyseat_shared.policy import EVIDENCE_KINDS, OFFLINE, ONLINE, Policy, Product

_TERMS = ("annual", "monthly", "trial")


@click.group()
def policy() -> None:
    """Show and set the rules: sunset, eligible terms, lease lengths, products."""


@policy.command()
@json_option
@pass_output
def show(output: Output) -> None:
    """Show the rules in force."""
    trust = load_trust()

    def human() -> None:
        output.print(f"Policy of {trust.vendor}, trust bundle version {trust.version}", "bold")
        for name, value in policy_lines(trust.policy).items():
            output.print(f"  {name:<22}{value}")
        output.print(f"  {'signatures':<22}{', '.join(trust.signatures_required)}")
        output.print(f"  {'digest':<22}{trust.policy.digest()}")

    output.emit(
        {
            "trust_version": trust.version,
            "policy": trust.policy.to_dict(),
            "signatures_required": list(trust.signatures_required),
            "digest": trust.policy.digest(),
        },
        human,
    )


@policy.command("set")
@click.option("--sunset", metavar="DATE", help="Offline licences end at this date or instant (UTC).")
@click.option("--no-sunset", is_flag=True, help="Offline licences may be issued without end.")
@click.option(
    "--eligible-term",
    "terms",
    type=click.Choice(_TERMS),
    multiple=True,
    help="Terms that convert to offline licences. Repeatable; replaces the list.",
)
@click.option(
    "--max-years",
    type=click.IntRange(1, 100),
    metavar="N",
    help="For how many years a subscription is bought at once at most (10 where you never said).",
)
@click.option("--lease-ttl", type=click.IntRange(1), metavar="SECONDS", help="How long a lease works by itself.")
@click.option("--renew-after", type=click.IntRange(1), metavar="SECONDS", help="When clients renew a lease.")
@click.option(
    "--overlap",
    type=click.IntRange(0, 1000),
    metavar="PERCENT",
    help="Leases that may run on after their sessions, in percent of the seats (0: none).",
)
@click.option(
    "--takeovers",
    type=click.IntRange(0, 1000),
    metavar="N",
    help="How often an hour a user may take the session over to another machine.",
)
@click.option(
    "--forbid-evidence",
    "forbidden",
    type=click.Choice([*sorted(EVIDENCE_KINDS), "none"]),
    multiple=True,
    help="Weak machine evidence that is not accepted. Repeatable; replaces the list.",
)
@click.option(
    "--require-fresh",
    "fresh",
    type=click.Choice([ONLINE, OFFLINE, "none"]),
    multiple=True,
    help="What a fresh trust bundle is required for, once `trust renew --fresh-days` made versions get stale."
    " Repeatable; replaces the list, which is `lease` where you never said.",
)
@click.option(
    "--product",
    "products",
    metavar="CODE=KIND,NAME",
    multiple=True,
    help="Add or rename a product: CODE=named|floating[,unlimited],NAME. Repeatable.",
)
@click.option(
    "--require-signature",
    "signatures",
    type=click.Choice([ED25519, ML_DSA_65]),
    multiple=True,
    help="Signatures that every licence and lease must carry. Repeatable; replaces the list.",
)
@click.option("--yes", is_flag=True, help="Do not ask, even where licences in use would be refused.")
@admin_options
@pass_output
def set_policy(
    output: Output,
    *,
    sunset: str | None,
    no_sunset: bool,
    terms: tuple[str, ...],
    max_years: int | None,
    lease_ttl: int | None,
    renew_after: int | None,
    overlap: int | None,
    takeovers: int | None,
    forbidden: tuple[str, ...],
    fresh: tuple[str, ...],
    products: tuple[str, ...],
    signatures: tuple[str, ...],
    yes: bool,
    access: Access,
) -> None:
    """Change rules, in a new version of the trust bundle. What is not named stays as it is.

    Clients apply the new rules to licences issued before as well: where that would end some, you are asked first.
    """
    before = load_trust()
    old = before.policy
    new = checked(
        old._replace(
            sunset=sunset_from(sunset, no_sunset=no_sunset, present=old.sunset),
            eligible_terms=_distinct(terms) if terms else old.eligible_terms,
            products=_merged(old, products_from(products)),
            lease_ttl=old.lease_ttl if lease_ttl is None else lease_ttl,
            lease_renew_after=old.lease_renew_after if renew_after is None else renew_after,
            forbidden_evidence=_some(forbidden, old.forbidden_evidence, "--forbid-evidence"),
            freshness_required=_some(fresh, old.freshness_required, "--require-fresh"),
            max_years=old.max_years if max_years is None else max_years,
            lease_overlap=old.lease_overlap if overlap is None else overlap,
            lease_takeovers=old.lease_takeovers if takeovers is None else takeovers,
        )
    )
    required = _required(signatures) if signatures else before.signatures_required
    changes = _changes(old, new)
    if required != before.signatures_required:
        changes["signatures"] = (", ".join(before.signatures_required), ", ".join(required))
    admin = open_admin(output, access)
    _confirm(output, old, new, stricter=set(required) > set(before.signatures_required), yes=yes)
    trust = admin.set_policy(new, required)
    if tell_pending(output, admin, {"policy": new.to_dict(), "policy_digest": new.digest()}):
        return

    def human() -> None:
        output.print(f"The trust bundle is version {trust.version} now. What changed:")
        for name, (was, now) in changes.items():
            output.print(f"  {name}: {was} -> {now}")
        output.say("Next: `keyseat-issuer trust export FILE` writes the version that clients should get.")

    output.emit({"trust_version": trust.version, "policy": new.to_dict(), "digest": new.digest()}, human)
    if OFFLINE in new.freshness_required and OFFLINE not in old.freshness_required:
        output.warn(
            "machines without internet now need a new trust.json by hand before each version gets stale, or their"
            " licences stop"
        )


def _confirm(output: Output, old: Policy, new: Policy, *, stricter: bool, yes: bool) -> None:
    """Ask before a change that ends licences in use."""
    from keyseat_issuer.trust.policy_effects import count_active, count_ended

    now = now_utc()
    # A signature that earlier licences do not carry.
    ended = count_active(now) if stricter else count_ended(old, new, now)
    if ended:
        output.confirm(
            "Go on?",
            "refuse",
            yes=yes,
            consequence=f"Clients that get this version will refuse {ended} offline licence(s) that hold today.",
        )


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _some(typed: tuple[str, ...], present: tuple[str, ...], option: str) -> tuple[str, ...]:
    """Return what a list is to hold: what was typed, nothing for ``none``, or what it holds where nothing was."""
    if "none" in typed and len(typed) > 1:
        raise KeyseatError(ReasonCode.INVALID_INPUT, f"{option} none goes with no other kind")
    if not typed:
        return present
    return () if "none" in typed else _distinct(typed)


def _required(typed: tuple[str, ...]) -> tuple[str, ...]:
    if ED25519 not in typed:
        raise KeyseatError(ReasonCode.INVALID_INPUT, f"{ED25519} is always required; name it as well")
    return (ED25519, *[name for name in _distinct(typed) if name != ED25519])


def _merged(old: Policy, changed: dict[str, Product]) -> dict[str, Product]:
    for code, product in changed.items():
        present = old.products.get(code)
        # Its pools, seats and licences were counted and signed as the other kind.
        if present is not None and present.seats != product.seats:
            raise KeyseatError(
                ReasonCode.INVALID_INPUT,
                f"{code} has {present.seats} seats, and that cannot change",
                next_step="Give the other kind of product a code of its own.",
            )
    return {**old.products, **changed}


def _changes(old: Policy, new: Policy) -> dict[str, tuple[str, str]]:
    was, now = policy_lines(old), policy_lines(new)
    return {name: (was.get(name, "-"), now[name]) for name in now if was.get(name) != now[name]}
