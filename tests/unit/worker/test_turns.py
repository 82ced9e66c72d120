"""Turns of the tenants' requests: equal shares of the store and of the worker, whoever sends how many."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from memq_worker.pipeline.turns import Turns


class Crowd:
    """Requests of tenants. `store` holds those that have begun, in order."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.store: list[str] = []
        self.done: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self._answers: list[asyncio.Event] = []

    def ask(self, tenant: str, size: int = 1) -> asyncio.Task[None] | None:
        if not self.turns.room(tenant, size):
            return None
        self.turns.add(tenant, size)
        task = asyncio.create_task(self._run(tenant), name=tenant)
        task.add_done_callback(lambda _: self.turns.remove(tenant, size))
        self.tasks.add(task)
        return task

    async def _run(self, tenant: str) -> None:
        async with self.turns.turn(tenant):
            answer = asyncio.Event()
            self.store.append(tenant)
            self._answers.append(answer)
            try:
                await answer.wait()
                self.done.append(tenant)
            finally:
                self.store.remove(tenant)
                if answer in self._answers:
                    self._answers.remove(answer)

    async def answer(self, number: int = 0) -> None:
        """End the request at the store that has been there for `number` others."""
        await settled()
        self._answers.pop(number % len(self._answers)).set()
        await settled()

    async def end(self) -> None:
        await settled()
        while self._answers:
            await self.answer()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def settled() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def test_a_tenant_alone_may_use_the_whole_store() -> None:
    crowd = Crowd(Turns(4, 100, 1000))
    for _ in range(10):
        crowd.ask("noisy")
    await settled()
    assert crowd.store == ["noisy"] * 4
    await crowd.end()
    assert crowd.done == ["noisy"] * 10


async def test_a_request_waits_for_none_of_another_s_that_wait() -> None:
    crowd = Crowd(Turns(4, 100, 1000, shared=2))
    crowd.ask("quiet")
    await crowd.end()
    for _ in range(20):
        crowd.ask("noisy")
    await settled()
    assert crowd.store == ["noisy"]
    crowd.ask("quiet")
    await settled()
    assert crowd.store == ["noisy", "quiet"]
    await crowd.end()


async def test_in_a_full_store_tenants_take_turns() -> None:
    crowd = Crowd(Turns(2, 100, 1000))
    for tenant in ["first"] * 5 + ["second"] * 5 + ["third"] * 5:
        crowd.ask(tenant)
    await crowd.end()
    for index in range(0, 15, 3):
        # One of each, after the two that found the store empty.
        assert len(set(crowd.done[2:][index : index + 3])) == len(crowd.done[2:][index : index + 3])


async def test_no_tenant_fills_the_worker() -> None:
    crowd = Crowd(Turns(4, 100, 1000))
    taken = [crowd.ask("noisy") is not None for _ in range(100)]
    assert taken == [True] * 50 + [False] * 50
    assert crowd.ask("quiet") is not None
    await crowd.end()
    assert crowd.ask("noisy") is not None
    await crowd.end()


async def test_no_tenant_fills_the_memory_for_bodies() -> None:
    crowd = Crowd(Turns(4, 100, 1000))
    assert crowd.ask("noisy", 600) is not None
    assert crowd.ask("noisy", 300) is None
    assert crowd.ask("quiet", 300) is not None
    await crowd.end()


async def test_cancelled_requests_leave_their_places() -> None:
    crowd = Crowd(Turns(2, 100, 1000))
    tasks = [crowd.ask("noisy") for _ in range(6)]
    await settled()
    for index in (0, 3, 4):
        task = tasks[index]
        assert task is not None
        task.cancel()
    await settled()
    assert crowd.store == ["noisy"] * 2
    await crowd.end()
    assert len(crowd.done) == 3
    assert crowd.turns.room("noisy", 1000)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("abc")),
        st.tuples(st.just("answer"), st.integers(0, 9)),
        st.tuples(st.just("cancel"), st.integers(0, 99)),
    ),
    max_size=60,
)


@given(steps)
def test_every_request_gets_its_turn_and_no_place_is_lost(played: list[tuple[str, str | int]]) -> None:
    async def play() -> None:
        crowd = Crowd(Turns(3, 20, 1000))
        tasks: list[asyncio.Task[None]] = []
        for step, which in played:
            if step == "ask" and (task := crowd.ask(str(which))) is not None:
                tasks.append(task)
            elif step == "cancel" and tasks:
                tasks[int(which) % len(tasks)].cancel()
            elif step == "answer" and crowd.store:
                await crowd.answer(int(which))
            await settled()
            asked = Counter(crowd.store)
            assert sum(asked.values()) <= 3
            waiting = Counter(task.get_name() for task in tasks if not task.done()) - asked
            # A tenant waits only while it has a request at the store, or while all places there are occupied.
            assert not waiting.keys() - asked.keys() or sum(asked.values()) == 3
        await crowd.end()
        assert crowd.store == []
        assert all(task.done() for task in tasks)
        assert crowd.ask("a", 1000) is not None
        await crowd.end()

    asyncio.run(play())
