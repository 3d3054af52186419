"""What requests and answers of the administration API are made of. Instants are RFC 3339 in UTC, in whole seconds."""

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from keyseat_issuer.api import patterns
from keyseat_issuer.ledger.customers.address_list import MOST_ADDRESSES
from keyseat_issuer.ledger.seats.rules import Line
from keyseat_issuer.ledger.seats.seats import Seat
from keyseat_shared.instants import format_instant, parse_typed

MACHINE_ID_PATTERN = patterns.whole(patterns.MACHINE_ID)
PRODUCT_PATTERN = patterns.whole(patterns.PRODUCT)

Email = Annotated[str, Field(min_length=3, max_length=320, examples=["ada@example.com"])]
Emails = Annotated[list[Email], Field(min_length=1, max_length=MOST_ADDRESSES)]
ProductCode = Annotated[str, Field(pattern=PRODUCT_PATTERN, examples=["KSE"])]
ProductFilter = Annotated[str | None, Query(pattern=PRODUCT_PATTERN, description="Only of this product.")]
TypedInstant = Annotated[
    str,
    Field(
        max_length=32,
        description="An instant (`2024-01-31T12:00:00Z`), or a date, which means through the end of that day in UTC.",
        examples=["2024-01-31"],
    ),
]


class Body(BaseModel):
    """A request body: a field that we do not know is a mistake, not something to pass over."""

    model_config = ConfigDict(extra="forbid")


class SeatItem(BaseModel):
    """What somebody holds. `kind`: `named`, `offline` or `online`."""

    product: str
    holder: str
    kind: str
    seats: int
    since: str
    until: str | None
    license_id: str | None
    machine_id: str | None

    @classmethod
    def of(cls, seat: Seat) -> "SeatItem":
        """Return the item of a seat."""
        return cls(
            product=seat.product,
            holder=seat.holder,
            kind=seat.kind,
            seats=seat.seats,
            since=format_instant(seat.since),
            until=instant(seat.until),
            license_id=None if seat.license_id is None else str(seat.license_id),
            machine_id=seat.machine_id or None,
        )


class LineItem(BaseModel):
    """The outcome for one address."""

    email: str
    status: str
    code: str
    note: str


class Lines(BaseModel):
    """The outcome for each address."""

    lines: list[LineItem]

    @classmethod
    def of(cls, lines: list[Line]) -> "Lines":
        """Return the report of an act on seats."""
        return cls(lines=[LineItem(**line._asdict()) for line in lines])


def instant(value: datetime | None) -> str | None:
    """Return an instant as the API writes it."""
    return None if value is None else format_instant(value)


def typed(value: str | None, *, end_of_day: bool = True) -> datetime | None:
    """Return the instant that a caller wrote.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    return None if value is None else parse_typed(value, end_of_day=end_of_day)
