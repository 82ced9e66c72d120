from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memq.deliver.write_path import Window


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 5), st.integers(1, 50), st.data())
async def test_limits_hold_everyone_gets_in_and_cancelled_ones_leave_no_trace(
    sizes: list[int], messages: int, limit: int, data: st.DataObject
) -> None:
    window = Window(messages, limit)
    inside: list[int] = []
    order: list[int] = []
    numbers = st.integers(0, len(sizes) - 1)
    victims = data.draw(st.dictionaries(numbers, numbers))

    async def use(number: int, size: int) -> None:
        await window.acquire(size)
        try:
            inside.append(size)
            order.append(number)
            assert len(inside) <= messages
            assert sum(inside) <= limit or len(inside) == 1
            await asyncio.sleep(0)
        finally:
            inside.remove(size)
            window.release(size)
            # Whoever has just been let in, and does not know it yet, may be among them.
            if number in victims:
                tasks[victims[number]].cancel()

    tasks = [asyncio.create_task(use(number, size)) for number, size in enumerate(sizes)]
    await asyncio.sleep(0)
    for number in data.draw(st.sets(numbers)):
        tasks[number].cancel()
    async with asyncio.timeout(5):
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [error for error in ended if error is not None and not isinstance(error, asyncio.CancelledError)] == []
    assert order == sorted(order)

    async with asyncio.timeout(5):
        for _ in range(messages):
            await window.acquire(0)
