from __future__ import annotations

import math
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from memq.connection.address import brokers
from memq_cli.screen import picture
from memq_cli.top.broker import Broker, Depth
from memq_cli.top.exposition import Page, Unreadable, fetch, metrics_url, parse
from memq_cli.top.frame import Queue
from memq_cli.top.troubles import troubles
from memq_cli.top.view import Pool, frame, waiting
from memq_cli.top.watch import Watch
from memq_cli.top.window import Window, added, quantile
from stack.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memq_cli.top.frame import Frame

ROLES = ["write", "query", "suspect", "dead"]

PAGE = """\
# TYPE memq_messages_total counter
memq_messages_total{{op="upsert",outcome="applied",lane="live",worker="0"}} {upserts}
memq_messages_total{{op="query",outcome="answered",worker="0"}} 0
memq_messages_total{{op="upsert",outcome="applied",lane="bulk",worker="1"}} 10
# TYPE memq_message_duration_seconds histogram
memq_message_duration_seconds_bucket{{op="upsert",worker="0",le="0.1"}} 0
memq_message_duration_seconds_bucket{{op="upsert",worker="0",le="0.2"}} {upserts}
memq_message_duration_seconds_bucket{{op="upsert",worker="0",le="+Inf"}} {upserts}
# TYPE memq_points_total counter
memq_points_total{{op="upsert",worker="0"}} {upserts}
# TYPE memq_inflight_messages gauge
memq_inflight_messages{{queue="write",worker="0"}} 3
memq_inflight_messages{{queue="query",worker="0"}} 1
memq_prefetch_messages{{queue="write",worker="0"}} 256
# TYPE memq_ready gauge
memq_ready{{worker="0"}} 1
memq_ready{{worker="1"}} {ready}
memq_store_held{{worker="1"}} 0
# TYPE memq_refusals_total counter
memq_refusals_total{{code="wrong_dimension",worker="0"}} {refused}
memq_refusals_total{{code="malformed",worker="0"}} 0
memq_dead_letters_total{{code="wrong_dimension",worker="1"}} 2
# TYPE memq_workers gauge
memq_workers 2
memq_workers_expected 2
# TYPE memq_queue_messages gauge
memq_queue_messages{{queue="write"}} {depth}
memq_queue_messages{{queue="query"}} 0
memq_queue_consumers{{queue="write"}} 2
memq_queue_oldest_age_seconds{{queue="write"}} 4.5
process_cpu_seconds_total{{worker="0"}} {upserts}
process_resident_memory_bytes{{worker="0"}} 104857600
"""


def page(at: float = 0.0, upserts: int = 0, refused: int = 0, depth: int = 7, ready: int = 1) -> Page:
    read = parse(PAGE.format(upserts=upserts, refused=refused, depth=depth, ready=ready))
    read.at = at
    return read


def pool(name: str = "a:1", *pages: Page) -> Pool:
    return Pool(name, pages[-1], Window(pages[0], pages[-1]))


def test_a_frame_of_one_pool() -> None:
    one = pool("a:1", page(), page(at=10.0, upserts=50, refused=5))
    found = frame([one], None, ROLES, growth=2.0)
    assert (found.window_seconds, found.workers_up, found.workers_expected) == (10.0, 2, 2)
    assert (found.settled_per_second, found.arriving_per_second, found.points_per_second) == (5.0, 7.0, 5.0)
    write, query, *_ = found.queues
    assert (write.role, write.ready, write.consumers, write.oldest_seconds) == ("write", 7, 2, 4.5)
    assert (query.ready, query.consumers) == (0, None)
    first, second = found.workers
    assert (first.slot, first.ready, first.in_flight, first.prefetch, first.settled_per_second) == (
        "0",
        True,
        4,
        256,
        5,
    )
    assert (first.cpu, first.memory_bytes) == (5.0, 104857600)
    assert (second.slot, second.settled_per_second, second.memory_bytes) == ("1", 0.0, None)
    (upsert,) = [latency for latency in found.latencies if latency.p50_ms is not None]
    assert (upsert.operation, upsert.p50_ms, upsert.p95_ms) == ("upsert", pytest.approx(150), pytest.approx(195))
    assert [(code.code, code.total, code.recent) for code in found.errors] == [("wrong_dimension", 5, 5)]
    assert [(code.code, code.total, code.recent) for code in found.dead_letters] == [("wrong_dimension", 2, 0)]
    assert found.troubles == troubles(found) == []


def test_two_pools_tell_of_the_same_queues_and_of_different_workers() -> None:
    pools = [
        pool("a:1", page(), page(at=10, upserts=20, depth=5)),
        pool("b:1", page(), page(at=10, upserts=30, depth=9)),
    ]
    found = frame(pools, None, ROLES, None)
    assert (found.queues[0].ready, found.workers_up, len(found.workers)) == (9, 4, 4)
    assert (found.settled_per_second, found.arriving_per_second) == (5.0, None)
    assert waiting(pools, None) == 4 + 4 + 9


def test_the_broker_is_believed_before_the_workers() -> None:
    depths = {"write": Depth(3, 1), "dead": Depth(2, 0)}
    found = frame([pool("a:1", page())], depths, ROLES, None)
    assert [(queue.ready, queue.consumers) for queue in found.queues] == [(3, 1), (0, None), (None, None), (2, 0)]
    assert found.queues[0].oldest_seconds == 4.5
    assert found.settled_per_second is None, "one reading has no rates"
    assert waiting([pool("a:1", page())], depths) == 4 + 3


def test_with_the_broker_alone_there_is_depth_and_nothing_else() -> None:
    found = frame([], {"write": Depth(3, 1)}, ROLES, None)
    assert (found.queues[0].ready, found.workers, found.workers_up, found.latencies) == (3, [], None, [])
    assert waiting([], {"write": Depth(3, 1)}) is None
    assert not found.dark
    assert frame([], None, ROLES, None).dark


counts = st.lists(st.integers(0, 100), min_size=1, max_size=8)


@given(counts, counts)
def test_counters_that_start_again_never_go_backwards(first: list[int], then: list[int]) -> None:
    """A worker's counter grows by `first`, starts again, and grows by `then`; one is seen per step."""
    seen = [sum(first[: n + 1]) for n in range(len(first))] + [sum(then[: n + 1]) for n in range(len(then))]
    for old, new in pairwise(seen):
        before, after = Page(0.0), Page(1.0)
        before.series["x_total"].append(({"worker": "0"}, old))
        after.series["x_total"].append(({"worker": "0"}, new))
        assert Window(before, after).increase("x_total") == (new - old if new >= old else new)


def test_a_series_that_was_not_there_counts_from_zero() -> None:
    after = Page(1.0)
    after.series["x_total"].append(({"worker": "3"}, 4.0))
    assert Window(Page(0.0), after).rate("x_total") == 4.0
    assert Window(after, after).rate("x_total") is None


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_its_rank(inside: list[int], share: float) -> None:
    edges = [0.1, 0.2, 1.0, math.inf]
    buckets = {edge: float(sum(inside[: n + 1])) for n, edge in enumerate(edges)}
    found = quantile(share, buckets)
    if not sum(inside):
        assert found is None
        return
    assert found is not None
    place = next(n for n, edge in enumerate(edges) if buckets[edge] >= share * sum(inside))
    low = 0.0 if place == 0 else edges[place - 1]
    assert low <= found <= (low if place == 3 else edges[place] + 1e-9)


def test_quantiles_of_several_pools_are_of_all_observations() -> None:
    buckets = added([{0.1: 10.0, math.inf: 10.0}, {0.1: 0.0, 0.2: 10.0, math.inf: 10.0}])
    assert buckets == {0.1: 10.0, 0.2: 10.0, math.inf: 20.0}
    assert quantile(0.5, {}) is None


def healthy() -> Frame:
    return frame([pool("a:1", page(), page(at=10.0, upserts=5))], {role: Depth(0, 1) for role in ROLES}, ROLES, 0.0)


def break_workers(found: Frame) -> str:
    found.workers_up = 1
    return "1 of 2 workers"


def break_all_workers(found: Frame) -> str:
    found.workers_up = 0
    return "no worker is running"


def break_readiness(found: Frame) -> str:
    found.workers[1].ready = False
    return "worker 1 of a:1: not ready"


def break_store(found: Frame) -> str:
    found.workers[0].held = True
    return "worker 0 of a:1: writes held"


def break_publishing(found: Frame) -> str:
    found.workers[0].blocked = True
    return "worker 0 of a:1: blocked by RabbitMQ"


def break_loop(found: Frame) -> str:
    found.workers[0].loop_lag_seconds = 3.0
    return "stuck for 3.0 s"


def break_consumers(found: Frame) -> str:
    found.queues[1].consumers = 0
    return "query: no consumer"


def break_age(found: Frame) -> str:
    found.queues[0].oldest_seconds = 61
    return "write is 61 s behind"


def break_suspects(found: Frame) -> str:
    found.queues[2].ready = 1
    return "1 message suspected"


def break_settling(found: Frame) -> str:
    found.queues[0].unacknowledged, found.settled_per_second = 256, 0.0
    found.queues[1].unacknowledged = 0
    return "write: 256 messages unacknowledged"


def break_letters(found: Frame) -> str:
    found.queues[3].ready = 2000
    return "2,000 dead letters"


def break_writes(found: Frame) -> str:
    found.queues += [Queue("retry.1", ready=2), Queue("retry.120", ready=1)]
    return "3 messages in retry queues"


def break_latency(found: Frame) -> str:
    next(each for each in found.latencies if each.operation == "query").p95_ms = 250
    return "p95 of query is 250 ms"


@pytest.mark.parametrize(
    "breaking",
    [
        break_workers,
        break_all_workers,
        break_readiness,
        break_store,
        break_publishing,
        break_loop,
        break_consumers,
        break_age,
        break_suspects,
        break_letters,
        break_settling,
        break_writes,
        break_latency,
    ],
)
def test_troubles_are_told_first(breaking: Callable[[Frame], str]) -> None:
    found = healthy()
    assert troubles(found) == []
    told = breaking(found)
    (trouble,) = troubles(found)
    assert told in trouble
    found.troubles = [trouble]
    assert rendered(found).startswith(f"✗ {trouble}")


def rendered(found: Frame, width: int = 100, height: int | None = None) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(picture(found, datetime(2026, 1, 1, 9, 8, 7, tzinfo=UTC), height=height, keys="q quits"))
    return captured.get()


def test_the_picture_has_every_number() -> None:
    one = pool("a:1", page(), page(at=10.0, upserts=50, refused=5))
    text = rendered(frame([one], {"dead": Depth(12345, 0)}, ROLES, 2.0))
    assert text.startswith("✓ no problem\n09:08:07   workers 2 of 2   q quits\n")
    for wanted in ("in 7.0/s", "settled 5.0/s", "workers 2 of 2", "12,345", "4 of 256", "100 MiB", "195.0 ms"):
        assert wanted in text
    assert text.count("wrong_dimension") == 2
    assert max(map(len, rendered(frame([one], None, ROLES, 2.0), 80).splitlines())) <= 80


TENANTS = """\
memq_ready{{worker="0"}} 1
memq_tenant_messages_total{{tenant="acme",outcome="applied",worker="0"}} {messages}
memq_tenant_messages_total{{tenant="beta",outcome="answered",worker="1"}} {more}
memq_tenant_queue_messages{{tenant="acme",worker="0"}} 17
memq_tenant_limited_total{{tenant="acme",limit="points_per_second",worker="0"}} {messages}
memq_tenant_queue_delay_seconds_bucket{{tenant="acme",worker="0",le="0.1"}} 0
memq_tenant_queue_delay_seconds_bucket{{tenant="acme",worker="0",le="0.2"}} {messages}
memq_tenant_queue_delay_seconds_bucket{{tenant="acme",worker="0",le="+Inf"}} {messages}
"""


def tenants_page(at: float, messages: int) -> Page:
    read = parse(TENANTS.format(messages=messages, more=3 * messages))
    read.at = at
    return read


def test_tenants_have_a_row_each_and_the_busiest_is_first() -> None:
    found = frame([pool("a:1", tenants_page(0.0, 0), tenants_page(10.0, 20))], None, ROLES, None)
    busiest, acme = found.tenants
    assert (busiest.name, busiest.settled_per_second, busiest.ready, busiest.limited) == ("beta", 6.0, None, {})
    assert (acme.name, acme.settled_per_second, acme.ready) == ("acme", 2.0, 17)
    assert acme.limited == {"points_per_second": 20}
    assert acme.p95_ms == pytest.approx(195)
    text = rendered(found, 80)
    assert text.index("beta") < text.index("acme")
    assert "points_per_second 20" in text
    assert max(map(len, text.splitlines())) <= 80
    found.tenants *= 5
    assert "and 4 more" in rendered(found, 80)
    assert "tenant" not in rendered(frame([pool("a:1", page(), page(at=1.0))], None, ROLES, None))


def test_a_small_terminal_shows_what_is_wrong_and_the_live_queues() -> None:
    roles = ["write", "write.bulk", "query", *(f"retry.{n}" for n in range(5)), "suspect", "dead", "store"]
    one = pool("a:1", page(), page(at=10.0, upserts=50, refused=5, ready=0))
    found = frame([one], {role: Depth(int(role in ("dead", "retry.3")), 2) for role in roles}, roles, 2.0)
    found.workers = found.workers * 8
    found.troubles = [*troubles(found), "one", "two", "three", "four", "five", "six"]
    lines = rendered(found, 80, 24).splitlines()
    assert len(lines) <= 32
    assert [line[0] for line in lines[:6]] == ["✗"] * 6
    shown = "\n".join(lines[:24])
    for wanted in ("and 3 more", "live 5.0/s   bulk 0.0/s", "retry.3", "5 retry and internal queues", "not ready"):
        assert wanted in shown
    assert "retry.0" not in shown
    assert max(map(len, lines)) <= 80


async def test_workers_of_another_pool_are_reported() -> None:
    async def looked(consumers: int) -> list[str]:
        with serving(200, PAGE.format(upserts=1, refused=0, depth=0, ready=1).encode()) as url:
            return (await Watch([url], Told({"write": Depth(0, consumers)})).look()).unseen

    assert await looked(2) == []
    (line,) = await looked(5)
    assert line.startswith("metrics of 2 of 5 workers")


class Told(Broker):
    """A broker's answer."""

    def __init__(self, depths: dict[str, Depth]) -> None:
        super().__init__(brokers("amqp://127.0.0.1:1/", "memq top", fast=False), "memq")
        self._told = depths

    async def depths(self) -> dict[str, Depth]:
        return self._told


def test_the_picture_without_metrics_and_without_anything() -> None:
    found = frame([], {"write": Depth(3, 1)}, ROLES, None)
    found.unseen = ["http://a/metrics: Connection refused"]
    assert rendered(found).startswith("? no problem in what could be read\nhttp://a/metrics: Connection refused")
    dark = frame([], None, ROLES, None)
    assert rendered(dark).startswith("? no metrics and no broker to read\n")


@contextmanager
def serving(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (404, b"", "HTTP status 404"),
        (200, b"\xff\xfe", "not a metrics page"),
        (200, b"<html>{</html>", "not a metrics page"),
        (200, b"up 1\n", "not of a memq worker"),
    ],
)
async def test_a_page_that_cannot_be_read_says_why(status: int, body: bytes, told: str) -> None:
    with serving(status, body) as url, pytest.raises(Unreadable, match=told):
        await fetch(url)


async def test_a_page_that_does_not_come_says_why() -> None:
    with serving(200, b"memq_ready 1\n") as url:
        assert (await fetch(url)).one("memq_ready") == 1
    with pytest.raises(Unreadable, match="Connection refused"):
        await fetch(f"http://127.0.0.1:{free_ports(1)[0]}/metrics")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client.parser", None)
    with pytest.raises(Unreadable, match=r"memq\[top\]"):
        parse("memq_ready 1\n")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("10.0.0.5:9464", "http://10.0.0.5:9464/metrics"),
        ("http://w/", "http://w/metrics"),
        ("https://w:1/other", "https://w:1/other"),
    ],
)
def test_addresses_of_metrics(text: str, url: str) -> None:
    assert metrics_url(text) == url


@pytest.mark.parametrize("text", ["ftp://w/metrics", "http://", "w:notaport", ""])
def test_impossible_addresses_of_metrics(text: str) -> None:
    with pytest.raises(ValueError, match="expected http"):
        metrics_url(text)
