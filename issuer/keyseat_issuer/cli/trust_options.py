"""What the commands of keys and rules read and show alike: products, dates, policies and lists of keys."""

import difflib
from datetime import datetime
from pathlib import Path
from typing import Any

from keyseat_issuer.cli.output import Output
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant, parse_typed
from keyseat_shared.policy import Policy, Product
from keyseat_shared.trust import ACTIVE, COMPROMISED, TrustBundle

_STYLES = {ACTIVE: "green", COMPROMISED: "red"}
_PRODUCT_FORM = "CODE=named|floating[,unlimited],NAME"


def key_rows(trust: TrustBundle, home: Path | None) -> list[dict[str, object]]:
    """Return every key of the bundle as JSON-ready values, root keys first; ``home`` tells where private halves are."""
    from keyseat_issuer.keys.store import KeyStore

    stored = {} if home is None else {found.keyid: found for found in KeyStore(home).stored()}

    def row(keyid: str, algorithm: str, purpose: str, status: str, window: tuple[datetime, datetime] | None) -> Any:  # noqa: ANN401 - a dict of mixed values
        found = stored.get(keyid)
        return {
            "keyid": keyid,
            "purpose": purpose,
            "algorithm": algorithm,
            "status": status,
            "valid_from": None if window is None else format_instant(window[0]),
            "valid_until": None if window is None else format_instant(window[1]),
            "private_key": None if found is None else str(found.path),
        }

    roots = [row(key.keyid, key.algorithm, "root", ACTIVE, None) for key in trust.root]
    return roots + [
        row(entry.key.keyid, entry.key.algorithm, entry.purpose, entry.status, (entry.valid_from, entry.valid_until))
        for entry in trust.keys
    ]


def print_keys(output: Output, rows: list[dict[str, object]], now: datetime, *, places: bool = True) -> None:
    """Print keys as a table, with the ``places`` of private halves.

    A window that has ended is told as the status it amounts to.
    """
    from keyseat_issuer.cli.output import Styled

    def status(row: dict[str, object]) -> Styled:
        name = str(row["status"])
        if name == ACTIVE and row["valid_until"] is not None and str(row["valid_until"]) <= format_instant(now):
            return Styled("window ended", "yellow")
        return Styled(name, _STYLES.get(name, ""))

    output.table(
        "",
        ("Key id", "Signs", "Algorithm", "Status", "From", "Until", *(["Private key"] if places else [])),
        [
            (
                row["keyid"],
                {"root": "trust bundles", "license": "licences", "lease": "leases"}[str(row["purpose"])],
                row["algorithm"],
                status(row),
                _day(row["valid_from"]),
                _day(row["valid_until"]),
                *([_place(row["private_key"])] if places else []),
            )
            for row in rows
        ],
    )


def _place(path: object) -> str:
    if path is None:
        return "not here"
    return "remote" if Path(str(path)).suffix == ".uri" else "here"


def _day(instant: object) -> str:
    return "-" if instant is None else str(instant)[:10]


def sunset_from(sunset: str | None, *, no_sunset: bool, present: datetime | None) -> datetime | None:
    """Return the sunset that ``--sunset`` and ``--no-sunset`` ask for; a date means its first instant in UTC.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for both at once, or for a text that is no date.
    """
    if sunset is not None and no_sunset:
        raise KeyseatError(ReasonCode.INVALID_INPUT, "--sunset and --no-sunset exclude each other")
    if no_sunset:
        return None
    return present if sunset is None else parse_typed(sunset, end_of_day=False)


def products_from(typed: tuple[str, ...]) -> dict[str, Product]:
    """Read ``--product CODE=named|floating[,unlimited],NAME``, given any number of times.

    Raises:
        KeyseatError: ``INVALID_INPUT`` that shows the form.
    """
    found: dict[str, Product] = {}
    for text in typed:
        code, equals, rest = text.partition("=")
        kind, _, name = rest.partition(",")
        unlimited = name.partition(",")[0].strip() == "unlimited"
        if unlimited:
            name = name.partition(",")[2]
        if not equals or kind.strip() not in {"named", "floating"} or not name.strip():
            close = difflib.get_close_matches(kind.strip(), ("named", "floating"), n=1)
            hint = f" (did you mean {close[0]!r}?)" if close and close[0] != kind.strip() else ""
            raise KeyseatError(
                ReasonCode.INVALID_INPUT,
                f"{text[:60]!r} does not say what a product is{hint}",
                next_step=f"Write it as {_PRODUCT_FORM}, for instance APP=named,My Application.",
            )
        found[code.strip()] = Product(name.strip(), kind.strip(), "unlimited" if unlimited else "quota")
    return found


def checked(policy: Policy) -> Policy:
    """Return ``policy`` as a client would read it.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for values that a trust bundle cannot hold.
    """
    from keyseat_shared.errors import MalformedError

    try:
        return Policy.from_dict(policy.to_dict())
    except MalformedError as error:
        raise KeyseatError(ReasonCode.INVALID_INPUT, error.message) from None


def policy_lines(policy: Policy) -> dict[str, str]:
    """Return the rules as lines for people: name and value."""
    lines = {
        "offline licences end": "never (no sunset)" if policy.sunset is None else format_instant(policy.sunset),
        "eligible terms": ", ".join(policy.eligible_terms) or "none",
        "longest subscription": f"{policy.max_years} year{'s' if policy.max_years != 1 else ''}",
        "lease": f"{policy.lease_ttl} s, renewed after {policy.lease_renew_after} s",
        "fresh bundle needed": ", ".join(policy.freshness_required) or "for nothing",
        "lease overlap": f"{policy.lease_overlap} % of the seats may run on after their sessions",
        "takeovers": f"{policy.lease_takeovers} an hour and user",
        "forbidden evidence": ", ".join(policy.forbidden_evidence) or "none",
    }
    for code in sorted(policy.products):
        product = policy.products[code]
        users = ", unlimited assigned users" if product.assigned_users == "unlimited" else ""
        lines[f"product {code}"] = f"{product.name} ({product.seats}{users})"
    return lines
