"""A trace from a caller through the broker to the store, and back: with OpenTelemetry, and without it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from memq import Producer, trace_context
from memq_schemas import Names, headers
from tests.support.broker import depth, take
from tests.support.until import until
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"

SET_UP = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
out = open({path!r}, "a", buffering=1)
provider = TracerProvider()
exporter = ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(None) + "\\n")
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
"""
ABSENT = """
import sys
sys.modules["opentelemetry"] = None
"""


async def test_spans_of_the_worker_belong_to_the_callers_trace(
    amqp: Address, engine: EmbeddedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "spans.jsonl"
    (tmp_path / "sitecustomize.py").write_text(SET_UP.format(path=str(told)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with running_worker(amqp, qdrant_url=engine.url) as worker:
        await one_of_each(amqp)
        assert worker.terminate() == 0
        lines = worker.logged("batch written") + worker.logged("request answered", op="count")
        assert [line["trace_id"] for line in lines] == [TRACE, TRACE]
    spans: list[dict[str, Any]] = [json.loads(line) for line in told.read_text().splitlines()]
    named = {span["name"].removesuffix(":memq.write").removesuffix(":memq.query"): span for span in spans}
    question = named["process memq.commands:count.docs"]
    assert (question["kind"], question["context"]["trace_id"]) == ("SpanKind.CONSUMER", f"0x{TRACE}")
    assert question["parent_id"] is not None
    assert named["count docs"]["parent_id"] == question["context"]["span_id"]
    write = named["process memq.commands:upsert.docs"]
    assert write["parent_id"] is None
    assert [link["context"]["trace_id"] for link in write["links"]] == [f"0x{TRACE}"]
    assert named["upsert docs"]["parent_id"] == write["context"]["span_id"]


async def test_without_opentelemetry_everything_works_and_the_context_is_carried(
    amqp: Address, engine: EmbeddedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(ABSENT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with running_worker(amqp, qdrant_url=engine.url) as worker:
        await one_of_each(amqp)
        async with Producer(amqp.url, prefix=amqp.prefix, timeout=20) as producer:
            with trace_context(f"00-{TRACE}-{SPAN}-01"):
                await producer.upsert("nowhere", [{"id": 1, "vector": [1.0, 2.0]}])
            names = Names(amqp.prefix)
            await until(lambda: dead_is(amqp, names.dead, 1), within=20)
        (dead,) = await take(amqp, names.dead)
        assert str(dead.headers[headers.TRACEPARENT]).startswith(f"00-{TRACE}-")
        assert worker.terminate() == 0
        lines = worker.logged("batch written") + worker.logged("delivery not applied", outcome="dead_lettered")
        assert [line["trace_id"] for line in lines] == [TRACE, TRACE]


async def dead_is(amqp: Address, queue: str, count: int) -> bool:
    return await depth(amqp, queue) == count


async def one_of_each(amqp: Address) -> None:
    async with Producer(amqp.url, prefix=amqp.prefix, timeout=20) as producer:
        await producer.collections.create("docs", 2)
        with trace_context(f"00-{TRACE}-{SPAN}-01"):
            await producer.upsert("docs", [{"id": 1, "vector": [1.0, 2.0]}], wait=True)
            assert (await producer.count("docs")).count == 1
