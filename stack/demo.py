"""`scripts/demo`: memories through RabbitMQ into Qdrant's engine, and answers back."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from memq import MemqError, Producer
from stack import directions, report, usage
from stack.broker import NoBroker
from stack.interrupt import run
from stack.memories import COLLECTION, BadData, Memories, Question, memories, questions
from stack.questions import all_answers, latency, recall
from stack.running import Stack, running
from stack.screen import Screen
from stack.serve import run_until_interrupt
from stack.workers import WorkersEnded

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from stack.interrupt import Interrupt

APPLIED_SECONDS = 30.0
CALL_SECONDS = 10.0


class NotApplied(RuntimeError):
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    options = usage.demo().parse_args(arguments)
    screen = Screen("demo")
    try:
        return run(lambda interrupt: _demo(options, screen, interrupt), screen.warn)
    except (NoBroker, WorkersEnded, NotApplied, BadData, MemqError) as error:
        screen.failed(error)
        return 1


async def _demo(options: argparse.Namespace, screen: Screen, interrupt: Interrupt) -> int:
    data, asked = memories(), questions(options.questions)
    screen.title(f"memq: {len(data.ids)} memories through RabbitMQ into Qdrant's engine, {len(asked)} questions back")
    async with AsyncExitStack() as opened:
        home = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="memq-demo-", ignore_cleanup_errors=True)))
        stack = await opened.enter_async_context(running(home, screen, throwaway=True))
        right = await _shown(stack, screen, data, asked)
        if options.keep and right:
            await run_until_interrupt(stack, screen, interrupt, directions.with_data(stack, data.ids[0]))
        elif right:
            report.next_steps(screen)
    return 0 if right else 1


async def _shown(stack: Stack, screen: Screen, data: Memories, asked: list[Question]) -> bool:
    """True when recall is what the data set promises."""
    async with Producer(stack.broker.amqp_url, prefix=stack.prefix, timeout=CALL_SECONDS, name="memq demo") as producer:
        with screen.step("creating the collection") as step:
            await producer.collections.create(COLLECTION, data.vectors.shape[1])
            step.done(f"collection {COLLECTION}", f"{data.vectors.shape[1]} dimensions, cosine")
        with screen.step("publishing") as step:
            loading = await _load(producer, data)
            step.done(f"{loading.points} points in {loading.messages} messages", "confirmed, applied and searchable")
        with screen.step("asking") as step:
            began = time.perf_counter()
            answered = await all_answers(producer, asked)
            per_second = len(asked) / (time.perf_counter() - began)
            alone = await latency(producer, asked)
            step.done(f"{len(asked) + alone.count} questions", "answered over an RPC reply queue")
    found = recall(answered)
    report.figures(screen, loading, alone, per_second, found)
    report.answers(screen, answered)
    if not found.as_promised:
        screen.warn(report.broken(found))
    return found.as_promised


async def _load(producer: Producer, data: Memories) -> report.Loading:
    began = time.perf_counter()
    receipt = await producer.upsert(COLLECTION, ids=data.ids, vectors=data.vectors, payloads=data.payloads)
    confirmed = searchable = time.perf_counter() - began
    counted = 0
    while counted < len(data.ids):
        counted = (await producer.count(COLLECTION)).count
        searchable = time.perf_counter() - began
        if searchable > APPLIED_SECONDS:
            raise NotApplied(f"{counted} of {len(data.ids)} points were applied within {APPLIED_SECONDS:.0f} s")
        await asyncio.sleep(0.002)
    return report.Loading(len(data.ids), receipt.messages, confirmed, searchable)


if __name__ == "__main__":
    sys.exit(main())
