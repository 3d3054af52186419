"""Answers of the pages: whoever reads slowly holds no place, no thread and no connection to the database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from starlette.types import Message, Receive, Scope, Send

from databases import Ledger
from keyseat_issuer.console import usage
from keyseat_issuer.server.pages import MOST_AT_ONCE, FewAtOnce

_HANGING = 3 * MOST_AT_ONCE
_PART = bytes(64 * 1024)


class Client:
    """Asks for a page and reads nothing before ``reads`` is set."""

    def __init__(self, *, reads: bool) -> None:
        self.reads = asyncio.Event()
        self.began = asyncio.Event()
        self.size = 0
        if reads:
            self.reads.set()

    async def receive(self) -> Message:
        return {"type": "http.request"}

    async def send(self, message: Message) -> None:
        self.began.set()
        await self.reads.wait()
        self.size += len(message.get("body", b""))


class Pages:
    """Answers of ``parts`` parts; tells how many are being made and how many were ended."""

    def __init__(self, parts: int) -> None:
        self.parts = parts
        self.working = self.most = self.ended = 0

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(self.parts):
            self.working += 1
            self.most = max(self.most, self.working)
            await asyncio.sleep(0)
            self.working -= 1
            await send({"type": "http.response.body", "body": _PART, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        self.ended += 1


def run(pages: Pages, test: Callable[[Callable[[Client], asyncio.Task[None]]], Awaitable[Any]]) -> None:
    async def all_of_it() -> None:
        few = FewAtOnce(pages)
        tasks = []

        def ask(client: Client) -> asyncio.Task[None]:
            tasks.append(asyncio.create_task(few({}, client.receive, client.send)))
            return tasks[-1]

        async with asyncio.timeout(60):
            await test(ask)
            await asyncio.gather(*tasks)

    asyncio.run(all_of_it())


@pytest.mark.parametrize("parts", [1, 100])
def test_clients_that_do_not_read_keep_nobody_from_the_pages(parts: int) -> None:
    pages = Pages(parts)

    async def test(ask: Callable[[Client], asyncio.Task[None]]) -> None:
        hanging = [Client(reads=False) for _ in range(_HANGING)]
        for client in hanging:
            ask(client)
        for client in hanging:
            await client.began.wait()
        other = Client(reads=True)
        await ask(other)
        assert parts * len(_PART) == other.size
        for client in hanging:
            client.reads.set()

    run(pages, test)

    assert _HANGING + 1 == pages.ended
    assert pages.most <= MOST_AT_ONCE


def test_the_application_is_done_with_an_answer_of_usual_length_before_it_is_sent() -> None:
    pages = Pages(10)

    async def test(ask: Callable[[Client], asyncio.Task[None]]) -> None:
        client = Client(reads=False)
        ask(client)
        await client.began.wait()
        assert 1 == pages.ended
        client.reads.set()

    run(pages, test)


def test_a_client_that_goes_while_it_waits_for_the_next_part_gives_no_place_back_twice() -> None:
    pages = Pages(100)

    async def test(ask: Callable[[Client], asyncio.Task[None]]) -> None:
        gone = [Client(reads=False) for _ in range(_HANGING)]
        tasks = [ask(client) for client in gone]
        for client in gone:
            await client.began.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(_HANGING):
            ask(Client(reads=True))

    with pytest.raises(asyncio.CancelledError):
        run(pages, test)
    assert pages.most <= MOST_AT_ONCE


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_a_long_report_keeps_no_connection_to_the_database_while_it_is_sent(ledger: Ledger) -> None:
    class Report:
        def __init__(self) -> None:
            self.parts = ["second", "third", ""]

        def next_part(self) -> str:
            connection.ensure_connection()
            return self.parts.pop(0)

    async def read() -> list[tuple[str, bool]]:
        is_closed = sync_to_async(lambda: connection.connection is None)
        parts = usage._parts_later(Report(), "first")  # type: ignore[arg-type] # what is used of one
        return [(part, await is_closed()) async for part in parts]

    assert [("first", True), ("second", True), ("third", True)] == asyncio.run(read())
