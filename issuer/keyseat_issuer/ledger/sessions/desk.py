"""The session desk: requests that wait while a transaction runs are answered by the next one, together.

A durable commit costs about as much for one request as for a hundred (group commit). One thread of each process
runs the turns, one after the other, on its own connection; leases are signed after the commit, by the same thread.
Everything else here runs on the event loop, so nothing needs a lock. A request whose rows another act holds is kept
aside and asked again, so that it holds up nobody else.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connection, connections, transaction

from keyseat_issuer.causes import Cause
from keyseat_issuer.ledger.audit.ledger_time import ledger_now
from keyseat_issuer.ledger.database import explain, ledger_errors, unavailable
from keyseat_issuer.ledger.patience import call_ends
from keyseat_issuer.ledger.sessions.aside import Aside, held_too_long
from keyseat_issuer.ledger.sessions.locks import Held
from keyseat_issuer.ledger.sessions.turn import process
from keyseat_issuer.ledger.sessions.values import Ended, Grant, Later, Outcome, Request
from keyseat_issuer.ledger.tools.bounds import drop_dead_connection, within
from keyseat_issuer.ledger.tools.plain_sql import sent_ahead
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import LEASE_TYPE
from keyseat_shared.errors import KeyseatError
from keyseat_shared.identifiers import uuid7
from keyseat_shared.payloads import LeasePayload
from keyseat_shared.policy import Policy

MOST_PER_TURN = 128
MOST_WAITING = 4096
GATHER = 0.003
"""Seconds at most between turns under load, until as many wait as the last turn had and left waiting: who was answered
and asks again joins those who waited meanwhile. Without it two halves of the callers take turns, and each commit serves
half of them."""
LEAST = 1.0
"""Seconds that a request must have left to get a turn: a turn ends with the time of whoever has least."""


class Signer(Protocol):
    """What signs leases: ``keyseat_issuer.keys.signing.EnvelopeSigner``."""

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Return the signed envelope."""


class Signed(NamedTuple):
    """A grant with its signed lease, the file content of a DSSE envelope."""

    grant: Grant
    lease: bytes


Reply = Signed | Ended
Authority = Callable[[datetime], tuple[Policy, Signer]]
"""Gives the policy and the lease signer in force at an instant, or raises ``KEY_UNAVAILABLE``."""


class _Waiting(NamedTuple):
    request: Request
    reply: "asyncio.Future[Reply]"
    until: float


class SessionDesk:
    """Answers requests for sessions in turns. Make it, ask it and close it on one event loop."""

    def __init__(
        self,
        authority: Authority,
        clock: Callable[[], datetime],
        watch: Callable[[int, float], None] = lambda _requests, _seconds: None,
    ) -> None:
        """Take what signs and what tells the time (both are asked once a turn, from the desk's thread).

        ``watch`` is told of every turn: how many requests it answered, and how many seconds it took.
        """
        self._watch = watch
        self._authority = authority
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="session-desk")
        self._busy = False
        self._gathering: asyncio.TimerHandle | None = None
        self._expected = 0
        self._idle = asyncio.Event()
        self._closed = False
        self._held = Held()
        self._aside: Aside[_Waiting] = Aside(self._ask_again)
        self.turns = 0

    @property
    def waiting(self) -> int:
        """How many requests wait for a turn."""
        return len(self._waiting) + len(self._aside)

    def ask(self, request: Request) -> "asyncio.Future[Reply]":
        """Queue a request; the future gives its reply or raises its refusal, before the call of this context ends.

        Raises:
            KeyseatError: ``LEDGER_UNAVAILABLE`` where too many wait already, or the desk is closed.
        """
        if self._closed or self.waiting >= MOST_WAITING:
            raise unavailable("the service is overloaded or stopping", Cause.OVERLOADED)
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Reply] = loop.create_future()
        self._waiting.append(_Waiting(request, reply, call_ends()))
        if not self._busy:
            # Not at once: what else this round of the event loop has read joins the same turn.
            self._busy = True
            loop.call_soon(self._begin)
        elif self._gathering is not None and len(self._waiting) >= self._expected:
            self._gathering.cancel()
            self._gathering = None
            loop.call_soon(self._begin)
        return reply

    async def close(self) -> None:
        """Answer what waits, then end the thread and its connection."""
        self._closed = True
        self._aside.close()
        if self._gathering is not None:  # nobody else will come
            self._gathering.cancel()
            self._begin()
        if self._busy:
            self._idle.clear()
            await self._idle.wait()
        await asyncio.get_running_loop().run_in_executor(self._thread, connections.close_all)
        self._thread.shutdown(wait=False)

    def _begin(self) -> None:
        self._gathering = None
        now = time.monotonic()
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < MOST_PER_TURN:
            entry = self._waiting.popleft()
            if not entry.reply.done() and now + LEAST <= entry.until:
                batch.append(entry)
                continue
            if not entry.reply.done():
                entry.reply.set_exception(unavailable("the ledger did not answer in time", Cause.OVERLOADED))
            self._aside.answered(entry)
        if not batch:
            self._busy = False
            self._idle.set()
            return
        self.turns += 1
        # Whoever has waited longest must have an answer then; those behind came later, and have as much left or more.
        end = min(entry.until for entry in batch)
        requests = [entry.request for entry in batch]
        turn = asyncio.get_running_loop().run_in_executor(self._thread, self._turn, requests, end)
        turn.add_done_callback(lambda done: self._finish(batch, done, now))

    def _ask_again(self, entries: Sequence[_Waiting]) -> None:
        """Put requests that were kept aside before all others: they have waited longest."""
        self._waiting.extendleft(reversed(entries))
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _finish(
        self, batch: Sequence[_Waiting], turn: "asyncio.Future[list[Reply | Later | KeyseatError]]", begun: float
    ) -> None:
        self._watch(len(batch), time.monotonic() - begun)
        failure = turn.exception()
        answers: Sequence[Reply | Later | BaseException] = [failure] * len(batch) if failure else turn.result()
        answered = 0
        for entry, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Later) and not self._closed:
                self._aside.put(entry, answer.of)
                continue
            answered += 1
            self._aside.answered(entry)
            if entry.reply.done():  # its client has hung up
                continue
            if isinstance(answer, Later):
                entry.reply.set_exception(held_too_long())
            elif isinstance(answer, BaseException):
                entry.reply.set_exception(answer)
            else:
                entry.reply.set_result(answer)
        self._expected = min(answered + len(self._waiting), MOST_PER_TURN)
        if answered > 1 and len(self._waiting) < self._expected:
            self._gathering = asyncio.get_running_loop().call_later(GATHER, self._begin)
        else:
            self._begin()

    # On the desk's thread --------------------------------------------------------------------------------------------

    def _turn(self, requests: Sequence[Request], end: float) -> list[Reply | Later | KeyseatError]:
        now = self._clock()
        drop_dead_connection()
        with ledger_errors(), within(end):
            # Before any seat is taken: one that could not be signed for would be lost until its lease ends.
            policy, signer = self._authorized(now)
            return [_signed(outcome, signer) for outcome in _committed(requests, policy, now, self._held)]

    def _authorized(self, now: datetime) -> tuple[Policy, Signer]:
        try:
            return self._authority(now)
        except KeyseatError as error:
            if error.code is ReasonCode.KEY_UNAVAILABLE:
                ledger_now(now)  # under a wrong clock good keys look too new or too old: say what is wrong
            raise


def _committed(requests: Sequence[Request], policy: Policy, now: datetime, held: Held) -> Sequence[Outcome]:
    """Answer the requests in one durable transaction.

    Where the database refuses the data of one of them, each gets a transaction of its own, once.

    Raises:
        KeyseatError: ``LEDGER_UNAVAILABLE``, ``CLOCK_ROLLED_BACK``.
    """
    try:
        with transaction.atomic(durable=True), sent_ahead():
            return process(requests, policy, now, held)
    except (IntegrityError, DataError) as error:
        if len(requests) == 1:
            return [explain(error)]
        return [outcome for request in requests for outcome in _committed([request], policy, now, held)]
    except (DatabaseError, InterfaceError) as error:
        # The connection may be broken: the next turn makes a new one.
        connection.close()
        raise explain(error) from error


def _signed(outcome: Outcome, signer: Signer) -> Reply | Later | KeyseatError:
    if not isinstance(outcome, Grant):
        return outcome
    payload = LeasePayload(
        lease_id=uuid7(outcome.issued_at),
        session_id=str(outcome.session_id),
        product=outcome.product,
        organization_id=str(outcome.organization_id),
        organization_name=outcome.organization_name,
        user=outcome.user,
        machine_id=outcome.machine_id,
        nonce=outcome.nonce,
        issued_at=outcome.issued_at,
        renew_after=outcome.renew_after,
        expires_at=outcome.expires_at,
    )
    try:
        payload.check_times()
    except KeyseatError as error:
        # The session's row is not one that a turn has written: its client would refuse the lease.
        return KeyseatError(
            ReasonCode.INTERNAL,
            f"no lease can be signed for this session: {error.message}",
            next_step="Release the session, and acquire another one; tell the operator of the service.",
        )
    return Signed(outcome, signer.sign(LEASE_TYPE, payload.to_bytes()))


def parse_session_id(text: str) -> UUID | None:
    """Return a session id in its canonical form, or ``None``."""
    try:
        parsed = UUID(text)
    except ValueError:
        return None
    return parsed if str(parsed) == text else None
