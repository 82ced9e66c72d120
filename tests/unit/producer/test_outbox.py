from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memq import OutboxError, OutboxFull, Producer, Unconfirmed
from memq.deliver.sender import Outgoing
from memq.errors import InvalidRequest, MessageTooLarge
from memq.outbox import Outbox, outbox
from memq.outbox.store import OVERHEAD_BYTES, Store
from memq_schemas import Operation
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

MIB = 1024 * 1024


def message(number: int) -> Outgoing:
    return Outgoing(Operation.UPSERT, "docs", b"%d" % number)


class Broker:
    """Stands for the sender: plays what it is told, one step an attempt; then confirms all."""

    def __init__(self, steps: Iterable[str] = ()) -> None:
        self.steps = list(steps)
        self.queue: list[int] = []
        self.away = False
        self.too_large: set[int] = set()

    async def once(self, outgoing: Outgoing, _timeout: float) -> None:
        if int(outgoing.body) in self.too_large:
            raise MessageTooLarge("larger than the broker accepts")
        step = self.steps.pop(0) if self.steps else "confirm"
        if self.away or step == "refuse":
            raise Unconfirmed("refused")
        self.queue.append(int(outgoing.body))
        # Confirms come late, and not in order.
        await asyncio.sleep(0)
        if step == "lose the confirm":
            raise Unconfirmed("lost")


@asynccontextmanager
async def opened(path: Path, broker: Broker, limit: int = MIB) -> AsyncIterator[Outbox]:
    box = Outbox(path, limit, 5)
    await box.open()
    box.start(broker)  # pyright: ignore[reportArgumentType]
    try:
        yield box
    finally:
        await box.close()


def last_copies(queue: list[int]) -> list[int]:
    return sorted(set(queue), key=lambda number: len(queue) - queue[::-1].index(number))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 30),
    st.lists(st.sampled_from(["confirm", "refuse", "lose the confirm"]), max_size=60),
    st.integers(1, 7),
)
async def test_whatever_fails_everything_arrives_and_the_last_copies_are_in_order(
    count: int, steps: list[str], batch: int
) -> None:
    broker = Broker(steps)
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "BATCH_MESSAGES", batch)
        patch.setattr(outbox, "PAUSE_SECONDS", 0.0)
        async with opened(Path(directory) / "outbox", broker) as box:
            await asyncio.gather(*(box.put(message(number)) for number in range(count)))
            await box.sent(30)
            assert (box.messages, box.size, box.reason) == (0, 0, None)
    assert last_copies(broker.queue) == list(range(count))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 20),
    st.sets(st.integers(0, 19), min_size=1),
    st.lists(st.sampled_from(["confirm", "refuse", "lose the confirm"]), max_size=30),
    st.integers(1, 7),
)
async def test_messages_that_the_broker_never_takes_stay_and_hold_nobody_back(
    count: int, too_large: set[int], steps: list[str], batch: int
) -> None:
    broker, later = Broker(steps), Broker()
    broker.too_large = too_large
    kept = sorted(number for number in too_large if number < count)
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "BATCH_MESSAGES", batch)
        patch.setattr(outbox, "PAUSE_SECONDS", 0.0)
        async with opened(Path(directory) / "outbox", broker) as box:
            await asyncio.gather(*(box.put(message(number)) for number in range(count)))
            if kept:
                with pytest.raises(MessageTooLarge, match=f"{len(kept)} of the messages stay in"):
                    await box.sent(30)
            await until(lambda: not box.messages)
            assert (box.messages, box.size, len(box.refused)) == (0, 0, len(kept))
        assert last_copies(broker.queue) == [number for number in range(count) if number not in kept]
        async with opened(Path(directory) / "outbox", later) as box:
            await box.sent(30)
        assert later.queue == kept, "tried once more, where the limit may be another"


async def test_what_is_left_is_sent_by_whoever_opens_it_next(tmp_path: Path) -> None:
    away, there = Broker(), Broker()
    away.away = True
    async with opened(tmp_path / "outbox", away) as box:
        await asyncio.gather(*(box.put(message(number)) for number in range(100)))
        with pytest.raises(Unconfirmed, match=r"100 messages are still in the outbox .*: refused"):
            await box.sent(0.2)
    async with opened(tmp_path / "outbox", there) as box:
        assert (box.messages, box.size) == (100, 190 + 100 * OVERHEAD_BYTES)
        await box.put(message(100))
        await box.sent(30)
    assert there.queue == list(range(101))
    async with opened(tmp_path / "outbox", there) as box:
        assert box.messages == 0
        await box.put(message(101))
        await box.sent(30)
    assert there.queue == list(range(102))


async def test_a_message_comes_out_as_it_went_in(tmp_path: Path) -> None:
    sent = [
        Outgoing(Operation.DELETE, "Größe", bytes(range(256)), "application/x"),
        Outgoing(Operation.PAYLOAD, "b", b"", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ]
    store = Store(tmp_path / "outbox")
    assert store.append(sent) == 2
    assert [stored.outgoing for stored in store.after(0, 10, MIB)] == sent
    assert [stored.seq for stored in store.after(0, 10, 1)] == [1]
    assert [stored.seq for stored in store.after(1, 10, MIB)] == [2]
    store.remove_through(2)
    assert store.append(sent) == 4
    store.close()
    assert stat.S_IMODE((tmp_path / "outbox").stat().st_mode) == 0o600


async def test_full_is_an_error_that_says_why_and_room_comes_back(tmp_path: Path) -> None:
    broker = Broker()
    broker.away = True
    async with opened(tmp_path / "outbox", broker, limit=3 * (OVERHEAD_BYTES + 1)) as box:
        for number in range(3):
            await box.put(message(number))
        with pytest.raises(Unconfirmed):
            await box.sent(0.2)
        with pytest.raises(OutboxFull, match=r"upsert\.docs: the outbox .*/outbox is full \(3 messages, .*: refused"):
            await box.put(message(3))
        broker.away = False
        await box.sent(30)
        await box.put(message(4))
        await box.sent(30)
    assert broker.queue == [0, 1, 2, 4]


async def test_one_producer_owns_a_file(tmp_path: Path) -> None:
    async with opened(tmp_path / "outbox", Broker()):
        with pytest.raises(OutboxError, match="is in use: one producer owns an outbox"):
            await Outbox(tmp_path / "outbox", MIB, 5).open()
    async with opened(tmp_path / "outbox", Broker()) as box:
        await box.put(message(1))


def test_the_envelope_is_kept_also_in_a_file_of_the_first_format(tmp_path: Path) -> None:
    Store(tmp_path / "outbox").close()
    db = sqlite3.connect(tmp_path / "outbox")
    db.execute("ALTER TABLE message DROP COLUMN content_encoding")
    db.execute("INSERT INTO message (operation, content_type, body) VALUES ('upsert', 'application/json', x'31')")
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()
    packed = Outgoing(Operation.UPSERT, "docs", b"2", "text/other", "00-trace", "zstd")
    store = Store(tmp_path / "outbox")
    store.append([packed])
    old, new = (stored.outgoing for stored in store.after(0, 10, MIB))
    store.close()
    assert (old.body, old.content_encoding) == (b"1", None)
    assert new == packed


def other_database(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (a)")
    db.close()


def newer_format(path: Path) -> None:
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 9")
    db.close()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (other_database, "another program's database"),
        (newer_format, "has format 9, this memq writes 2"),
        (lambda path: path.write_bytes(b"no database at all" * 100), "cannot be used: file is not a database"),
        (lambda path: path.mkdir(), "cannot be opened: .*Is a directory"),
    ],
)
async def test_a_file_that_is_no_outbox_is_left_alone(tmp_path: Path, spoil: object, told: str) -> None:
    path = tmp_path / "outbox"
    assert callable(spoil)
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(OutboxError, match=told):
        await Outbox(path, MIB, 5).open()
    assert (path.read_bytes() if path.is_file() else None) == before


async def test_a_disk_that_fails_is_told_to_whoever_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker()
    async with opened(tmp_path / "outbox", broker) as box:
        # SQLite's own limit stands for a full disk: the error is the same one.
        box._store._db.execute("PRAGMA max_page_count = 10")
        with pytest.raises(OutboxError, match="cannot be written: database or disk is full"):
            await box.put(Outgoing(Operation.UPSERT, "docs", b"1" * 200_000))
        assert (box.messages, box.size) == (0, 0)
        await box.put(message(7))
        await box.sent(30)
    assert broker.queue == [7]


async def test_a_defect_is_told_and_nobody_hangs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Broker):
        async def once(self, outgoing: Outgoing, _timeout: float) -> None:
            raise LookupError("oh")

    async with opened(tmp_path / "outbox", Broken()) as box:
        await box.put(message(1))
        with pytest.raises(Unconfirmed, match=r"1 messages are still in the outbox .*LookupError: oh"):
            await box.sent(0.5)
        with pytest.raises(OutboxError, match="a defect in memq's outbox"):
            await box.put(message(2))
    assert "outbox stopped" in caplog.messages


def test_a_message_that_the_broker_may_refuse_for_its_size_is_not_let_in(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="max_message_bytes is at most 16777216"):
        Producer(outbox=tmp_path / "outbox", max_message_bytes=17 * MIB)
