from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from memq.dead.delivery_limit import DeliveryLimit, read_delivery_limit
from memq.dead.letter import DeadLetter, read_letter
from memq.dead.replay import Replay
from memq.dead.selection import Selection
from memq.dead.walk import Walk, walk
from memq.errors import BrokerUnavailable
from memq_schemas.tenants import Whose

if TYPE_CHECKING:
    from memq_amqp import Received

    from memq.connection.link import Link
    from memq.deliver.sender import Sender
    from memq.errors import Unroutable
    from memq_schemas import Names

EVERYTHING = Selection()


@dataclass(slots=True)
class Tally:
    """Numbers of letters.

    depth: in the queue at the start, without letters that another walk holds.   walked: read so far.
    selected: matching the selection.   done: sent again, or removed.   unroutable: kept, because no queue takes them;
    `unroutable_reason` is the first reason.   codes: selected letters by code.
    delivery_limit: deliveries that the queue allows.
    """

    depth: int = 0
    walked: int = 0
    selected: int = 0
    done: int = 0
    unroutable: int = 0
    unroutable_reason: str | None = None
    codes: Counter[str] = field(default_factory=Counter[str])
    delivery_limit: DeliveryLimit = field(default_factory=DeliveryLimit)

    def stays(self, error: Unroutable) -> None:
        """Count a letter that no queue takes."""
        self.unroutable += 1
        self.unroutable_reason = self.unroutable_reason or str(error)


@dataclass(frozen=True, slots=True)
class Listing:
    """letters: from the front of the queue, at most as many as the selection's limit; the tally counts all."""

    letters: list[DeadLetter]
    tally: Tally


Progress = Callable[[Tally], None]
Approval = Callable[[Tally], Awaitable[bool]]


class DeadLetters:
    """Dead letters of an installation. Letters that a call does not select or only shows stay where they are; while it
    runs, others do not see those it has walked past.

    Every call raises BrokerUnavailable, TopologyMissing and ConfigurationError; and LetterAtRisk unless `force`, if
    RabbitMQ would drop a letter within ten more looks, as far as MEMQ_MANAGEMENT_URL shows it.
    """

    def __init__(self, link: Link, sender: Sender, names: Names, client: str, timeout: float) -> None:
        self._link = link
        self._sender = sender
        self._names = names
        self._whose = Whose(names)
        self._client = client
        self._timeout = timeout

    async def list(
        self, selection: Selection = EVERYTHING, *, force: bool = False, progress: Progress | None = None
    ) -> Listing:
        letters: list[DeadLetter] = []
        tally = Tally()
        async with self._walk(tally, force, progress) as walked:
            async for block in walked.blocks():
                async for message in block:
                    letter = _look(message, self._whose, tally, selection, progress)
                    if letter is not None and (selection.limit is None or len(letters) < selection.limit):
                        letters.append(letter)
        return Listing(letters, tally)

    async def find(
        self, which: int | str, *, tenant: str | None = None, force: bool = False, progress: Progress | None = None
    ) -> DeadLetter | None:
        """Return a letter with its body; None if there is none.

        which: position from 1, message id or correlation id; the first match.   tenant: match letters of this tenant
        alone; two tenants may have used the same message id.
        """
        tally = Tally()
        tenants = frozenset[str]() if tenant is None else frozenset({tenant})
        ids = frozenset[str]() if isinstance(which, int) else frozenset({which})
        chosen = Selection(ids=ids, tenants=tenants)
        async with self._walk(tally, force, progress) as walked:
            async for block in walked.blocks():
                async for message in block:
                    letter = _look(message, self._whose, tally, chosen, progress)
                    if letter is not None and which in (letter.position, letter.message_id, letter.correlation_id):
                        return read_letter(letter.position, message, self._whose, with_body=True)
        return None

    async def replay(
        self,
        selection: Selection = EVERYTHING,
        *,
        body: bytes | None = None,
        dry_run: bool = False,
        force: bool = False,
        progress: Progress | None = None,
        tally: Tally | None = None,
    ) -> Tally:
        """Publish the selected letters again under their routing keys, with no attempts spent.

        A letter leaves the queue when the broker has confirmed its copy. After an interruption a few letters may be
        sent twice, which ids make harmless; none is lost. A tenant's letter goes through the tenant's exchange.
        body: the corrected body of one letter, not compressed; the first letter of the selection is sent with it.
        tally: counts the letters while the call runs, also if it raises. Raises Unconfirmed too.
        """
        tally = tally or Tally()
        selection = selection if body is None else replace(selection, limit=1)
        async with self._walk(tally, force, progress) as walked:
            replay = Replay(walked, self._sender, self._whose, self._timeout, body)

            def sent() -> None:
                tally.done += 1
                if progress is not None:
                    progress(tally)

            async for block in walked.blocks():
                chosen: list[Received] = []
                async for message in block:
                    if _look(message, self._whose, tally, selection, progress) is not None:
                        chosen.append(message)
                    if tally.selected == selection.limit:
                        break
                if not dry_run:
                    await replay.run(chosen, sent, tally.stays)
                if tally.selected == selection.limit:
                    break
        return tally

    async def purge(
        self,
        selection: Selection = EVERYTHING,
        *,
        dry_run: bool = False,
        force: bool = False,
        approve: Approval | None = None,
        progress: Progress | None = None,
        tally: Tally | None = None,
    ) -> Tally:
        """Removes them for good. approve: asked with what was selected; exactly that is removed, or nothing.

        tally: as for `replay`.
        """
        tally = tally or Tally()
        async with self._walk(tally, force, progress) as walked:
            tags: list[int] = []
            async for block in walked.blocks():
                async for message in block:
                    if _look(message, self._whose, tally, selection, progress) is not None:
                        tags.append(message.tag)
                    if tally.selected == selection.limit:
                        break
                if tally.selected == selection.limit:
                    break
            await walked.stop()
            if dry_run or not tags or (approve is not None and not await approve(tally)):
                return tally
            for tag in tags:
                await walked.remove(tag)
                tally.done += 1
        return tally

    @contextlib.asynccontextmanager
    async def _walk(self, tally: Tally, force: bool, progress: Progress | None) -> AsyncGenerator[Walk]:
        try:
            async with asyncio.timeout(self._timeout):
                session = await self._link.session()
        except TimeoutError:
            raise BrokerUnavailable(
                f"no connection to RabbitMQ within {self._timeout:g} s: {self._link.reason}"
            ) from None
        if not force:
            tally.delivery_limit = await read_delivery_limit(session.address, self._names)
            tally.delivery_limit.check()
        async with walk(session.address, self._names.dead, f"{self._client} dead letters") as walked:
            tally.depth = walked.depth
            if progress is not None:
                progress(tally)
            yield walked


def _look(
    message: Received, whose: Whose, tally: Tally, selection: Selection, progress: Progress | None
) -> DeadLetter | None:
    """The letter, if it is selected."""
    tally.delivery_limit.check(message)
    tally.walked += 1
    letter = read_letter(tally.walked, message, whose)
    selected = selection.takes(letter, datetime.now(UTC))
    if selected:
        tally.selected += 1
        tally.codes[letter.code] += 1
    if progress is not None:
        progress(tally)
    return letter if selected else None
