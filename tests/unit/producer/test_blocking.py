"""The blocking classes agree with the asyncio ones, name by name."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import memq
from memq import blocking
from memq.aliases import Aliases
from memq.background import Background
from memq.collections import Collections
from memq.dead import DeadLetters
from memq.errors import WrongContext
from memq.indexes import Indexes
from producer.generate import TARGET, generated

PAIRS = [
    (memq.Producer, blocking.Producer),
    (Collections, blocking.Collections),
    (Indexes, blocking.Indexes),
    (Aliases, blocking.Aliases),
    (DeadLetters, blocking.DeadLetters),
]


def members(kind: type) -> dict[str, Any]:
    bases = [base for base in kind.__mro__ if base is not object]
    return {name: member for base in bases for name, member in vars(base).items() if not name.startswith("_")}


@pytest.mark.parametrize(("asynchronous", "blocked"), PAIRS)
def test_both_have_the_same_methods_arguments_and_docstrings(asynchronous: type, blocked: type) -> None:
    theirs, ours = members(asynchronous), members(blocked)
    assert list(theirs) == list(ours)
    for name, member in theirs.items():
        assert member.__doc__ == ours[name].__doc__
        if isinstance(member, property):
            assert isinstance(ours[name], property)
        else:
            assert inspect.iscoroutinefunction(member)
            assert inspect.signature(member) == inspect.signature(ours[name])
            assert not inspect.iscoroutinefunction(ours[name])
    if asynchronous is memq.Producer:
        assert inspect.signature(asynchronous) == inspect.signature(blocked)
    assert inspect.getdoc(blocked) == (inspect.getdoc(asynchronous) or "").replace("`async with", "`with")


def test_the_module_is_as_it_was_generated() -> None:
    assert TARGET.read_text("utf-8") == generated(), "python -m producer.generate"


def test_an_iterator_is_read_in_the_thread_of_its_caller_and_may_call_back() -> None:
    background = Background()

    async def upsert(points: Any) -> int:
        return sum([row async for row in points])

    async def one() -> int:
        return 1

    assert background.feed((background.run(one) for _ in range(1000)), upsert) == 1000

    def broken() -> Any:
        yield 1
        raise KeyError("row")

    with pytest.raises(KeyError, match="row"):
        background.feed(broken(), upsert)


def test_a_reader_that_fails_ends_the_feeding() -> None:
    async def refuse(points: Any) -> None:
        async for row in points:
            if row == 250:
                raise ValueError("250")

    with pytest.raises(ValueError, match="250"):
        Background().feed(iter(range(10**9)), refuse)


def test_a_callback_that_would_wait_for_itself_is_told() -> None:
    background = Background()

    async def one() -> int:
        return 1

    async def outer() -> int:
        return background.run(one)

    with pytest.raises(WrongContext, match="wait for itself"):
        background.run(outer)
