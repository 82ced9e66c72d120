"""Questions over RPC reply queues: the answers, what they took, and how many are right."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stack.memories import COLLECTION, PROMISED, Question

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memq import Producer

LIMIT = 5
IN_FLIGHT = 8
ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Answered:
    question: Question
    ids: list[str]
    score: float
    best: dict[str, Any]
    """The payload of the first."""

    @property
    def rank(self) -> int | None:
        return self.question.rank(self.ids)


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds per question, asked one at a time, from the call to its answer."""

    p50_ms: float
    p95_ms: float
    count: int


@dataclass(frozen=True, slots=True)
class Recall:
    hits: dict[int, int]
    of: int

    @property
    def as_promised(self) -> bool:
        # Equal and not at least: the search is exact, so a better result is as wrong as a worse one.
        return self.hits == self.promised

    @property
    def promised(self) -> dict[int, int]:
        return {k: math.floor(share * self.of) for k, share in PROMISED.items()}


async def all_answers(producer: Producer, questions: Sequence[Question]) -> list[Answered]:
    """Several in flight at a time. Raises what `Producer.query` raises."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def asked(question: Question) -> Answered:
        async with slots:
            return await _ask(producer, question)

    return await asyncio.gather(*map(asked, questions))


async def latency(producer: Producer, questions: Sequence[Question]) -> Latency:
    durations: list[float] = []
    for question in (*questions,) * ROUNDS:
        began = time.perf_counter()
        await _ask(producer, question)
        durations.append((time.perf_counter() - began) * 1000)
    durations.sort()
    return Latency(_percentile(durations, 50), _percentile(durations, 95), len(durations))


def recall(answered: Sequence[Answered]) -> Recall:
    ranks = [answer.rank for answer in answered]
    return Recall({k: sum(rank is not None and rank <= k for rank in ranks) for k in PROMISED}, len(ranks))


async def _ask(producer: Producer, question: Question) -> Answered:
    answer = await producer.query(COLLECTION, question.vector, LIMIT, filter=question.filter)
    points = answer.points
    best = (points[0].payload or {}) if points else {}
    return Answered(question, [str(point.id) for point in points], points[0].score if points else 0.0, best)


def _percentile(ordered: list[float], percent: int) -> float:
    """Percentile by nearest rank, always a measured time."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]
