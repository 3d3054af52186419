"""Tables of a page, each read a stretch at a time: what it shows, and where its previous and next ones begin.

The address names the place by a cursor, not by a number of rows: the thousandth page costs what the first one does. How
many rows there are is counted up to ``MOST_COUNTED`` only.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from django.core.paginator import Paginator
from django.http import HttpRequest

from keyseat_issuer.ledger.tools import paging
from keyseat_shared.errors import KeyseatError

R = TypeVar("R")

ROWS = 50
"""Rows of a table that one page shows."""
MOST_COUNTED = 2000
_LAST = "last"
_PLACE = re.compile(r"([0-9]{1,12})([ab])\.([A-Za-z0-9_-]{1,2000})")


class Shown(Generic[R]):
    """The rows shown, where they are among all, and what the address says for other stretches; empty: there is none."""

    def __init__(self, rows: Sequence[R], told: str, earlier: str = "", later: str = "", last: str = "") -> None:
        self.object_list = rows
        self.told = told if earlier or later else ""
        self.earlier = earlier
        self.later = later
        self.last = last

    def __iter__(self) -> Iterator[R]:
        """Go through the rows."""
        return iter(self.object_list)


def shown(request: HttpRequest, name: str, rows: Sequence[R]) -> Shown[R]:
    """Return the page of a short list that the address asks for by the table's name; a wrong number is the nearest."""
    page = Paginator(rows, ROWS).get_page(request.GET.get(name))
    told = f"{page.start_index()} to {page.end_index()} of {page.paginator.count}"
    earlier = str(page.previous_page_number()) if page.has_previous() else ""
    return Shown(list(page), told, earlier, str(page.next_page_number()) if page.has_next() else "")


def listed(request: HttpRequest, name: str, source: paging.Source[R]) -> Shown[R]:
    """Return the stretch of a long list that the address asks for; where it asks for none that there is, the first."""

    def count() -> int:
        rows = [source.rows, *source.others]
        return min(MOST_COUNTED + 1, sum(each.order_by()[: MOST_COUNTED + 1].count() for each in rows))

    return _stretch(request, name, lambda cursor, back: paging.around(source, ROWS, cursor, back=back), count)


def values(request: HttpRequest, name: str, found: paging.Values) -> Shown[Any]:
    """Return a stretch of a list of values in the same way."""
    return _stretch(
        request,
        name,
        lambda cursor, back: found.around(ROWS, cursor, back=back),
        lambda: found.count(MOST_COUNTED + 1),
    )


def _stretch(
    request: HttpRequest,
    name: str,
    read: Callable[[str | None, bool], paging.Stretch[R]],
    count: Callable[[], int],
) -> Shown[R]:
    asked = request.GET.get(name, "")
    place = _PLACE.fullmatch(asked)
    number, back, cursor = (int(place[1]), place[2] == "b", place[3]) if place else (0, asked == _LAST, None)
    try:
        found = read(cursor, back)
    except KeyseatError:  # somebody typed it
        found = paging.Stretch([], None, None)
    if not found.rows:  # also where all behind the place has ended meanwhile
        number, back, cursor = 0, False, None
        found = read(None, back)
    if found.before is None and found.after is None:
        return Shown(found.rows, "")
    counted = count()
    start = _start(found, number, counted, back=back, at_end=cursor is None)
    where = f"{start} to {start + len(found.rows) - 1}" if start else f"The last {len(found.rows)}"
    of = f"more than {MOST_COUNTED}" if counted > MOST_COUNTED else str(counted)
    return Shown(
        found.rows,
        f"{where} of {of}",
        "" if found.before is None else f"{start}b.{found.before}",
        "" if found.after is None else f"{start + len(found.rows) if start else 0}a.{found.after}",
        _LAST if found.after is not None else "",
    )


def _start(found: paging.Stretch[Any], number: int, counted: int, *, back: bool, at_end: bool) -> int:
    """Return the number of the first row among all, as far as it is known, else 0."""
    if found.before is None:
        return 1
    if back and at_end:
        return 0 if counted > MOST_COUNTED else counted - len(found.rows) + 1
    return max(0, number - len(found.rows)) if back else number
