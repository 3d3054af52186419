"""Pages of the administration API's lists: a number of entries, and a cursor that leads to the next ones."""

from typing import Annotated, NamedTuple, TypeVar

from fastapi import Depends, Query
from pydantic import Field

from keyseat_issuer.api.admin.access import act
from keyseat_issuer.api.service import Service
from keyseat_issuer.ledger.tools import paging

R = TypeVar("R")


class PageQuery(NamedTuple):
    """Which page of a list."""

    limit: int
    cursor: str | None


def _page(
    limit: Annotated[int, Query(ge=1, le=500, description="Entries of the page at most.")] = 100,
    cursor: Annotated[
        str | None,
        Query(
            max_length=2000,
            pattern="^[A-Za-z0-9_-]+$",
            description="`next` of the page before; leave it out for the first one.",
        ),
    ] = None,
) -> PageQuery:
    return PageQuery(limit, cursor)


PageDep = Annotated[PageQuery, Depends(_page)]
Next = Annotated[str | None, Field(description="`cursor` of the next page; `null` on the last one.")]


async def read_page(service: Service, page: PageQuery, *sources: paging.Source[R]) -> paging.Page[R]:
    """Return a page of a list, read off the event loop.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for a text that is no cursor of this list.
    """

    def read() -> paging.Page[R]:
        return paging.read(sources, *page)

    return await act(service, read)
