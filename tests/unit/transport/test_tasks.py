from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from memq_amqp import Lost, cancellable, stop, stopped, tasks


async def ask(answer: asyncio.Future[None]) -> None:
    """Wait as aiormq does for each answer of the broker."""
    await asyncio.wait_for(answer, timeout=60)


@pytest.mark.parametrize("outcome", [None, OSError("reset")])
async def test_a_cancel_that_arrives_with_the_answer_is_kept(outcome: Exception | None) -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        while True:
            with suppress(OSError), cancellable():
                await ask(answer)
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    if outcome is None:
        answer.set_result(None)
    else:
        answer.set_exception(outcome)
    asyncio.get_running_loop().call_soon(task.cancel)
    await asyncio.wait({task}, timeout=2)
    assert task.cancelled()


async def test_a_library_that_cancels_the_waiter_has_lost_the_connection() -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    answer.cancel()
    with pytest.raises(Lost), cancellable():
        await answer


async def test_a_loss_during_the_cleanup_of_a_cancelled_task_is_a_loss() -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    answer.cancel()
    cleaned = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            with pytest.raises(Lost), cancellable():
                await answer
            cleaned.set()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await stopped(task)
    assert task.cancelled()
    assert cleaned.is_set()


async def test_a_deadline_around_the_block_stays_a_deadline() -> None:
    async def work() -> None:
        async with asyncio.timeout(0.01):
            with cancellable():
                await ask(asyncio.get_running_loop().create_future())

    with pytest.raises(TimeoutError):
        await work()


async def test_a_task_that_drops_cancels_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_REPEAT_SECONDS", 0.01)
    dropped = 0

    async def work() -> None:
        nonlocal dropped
        while dropped < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                dropped += 1
        await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    stop(task)
    await stopped(task, None)
    assert task.cancelled()
    assert dropped == 3
