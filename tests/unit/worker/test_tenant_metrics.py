from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry

from memq_schemas.properties import Properties
from memq_worker.observe.catalogue import MOST_TENANTS
from memq_worker.observe.exposition import Exposition
from memq_worker.observe.member import Member
from memq_worker.observe.metrics import Metrics
from memq_worker.observe.slot import Slot
from tests.unit.worker.fakes import FakeLink, delivery

if TYPE_CHECKING:
    from memq_worker.pipeline.delivery import Delivery


def page(member: Member) -> list[str]:
    registry = CollectorRegistry()
    registry.register(Exposition([member], {"vhost": "/", "prefix": "memq"}))
    return [line for line in generate_latest(registry).decode().splitlines() if line.startswith("memq_tenant")]


def of(tenant: str | None, published: int | None = None) -> Delivery:
    message = delivery(FakeLink(), 1, {})
    message.tenant = tenant
    message.properties = Properties(timestamp=published)
    return message


def test_tenants_are_counted_by_name_and_the_operator_is_not() -> None:
    member = Member(0, Slot.private())
    metrics = Metrics(member.slot, lambda *_: None)
    assert page(member) == []
    metrics.settled("upsert", "applied", [of(None), of(None)])
    assert page(member) == []
    metrics.settled("upsert", "applied", [of("acme", int(time.time()) - 40), of("acme"), of("evil")])
    metrics.settled("query", "refused", [of("evil")], "overloaded")
    metrics.limited("evil", "requests_per_second")
    member.slot.looked()
    metrics.tenant_queue("acme", 7)
    lines = page(member)
    assert 'memq_tenant_messages_total{outcome="applied",tenant="acme",worker="0"} 2.0' in lines
    assert 'memq_tenant_messages_total{outcome="applied",tenant="evil",worker="0"} 1.0' in lines
    assert 'memq_tenant_messages_total{outcome="refused",tenant="evil",worker="0"} 1.0' in lines
    assert 'memq_tenant_limited_total{limit="requests_per_second",tenant="evil",worker="0"} 1.0' in lines
    assert 'memq_tenant_queue_messages{tenant="acme"} 7.0' in lines
    assert 'memq_tenant_queue_delay_seconds_bucket{le="30.0",tenant="acme",worker="0"} 0.0' in lines
    assert 'memq_tenant_queue_delay_seconds_bucket{le="60.0",tenant="acme",worker="0"} 1.0' in lines


def test_later_tenants_share_a_series_and_names_outlive_the_worker() -> None:
    slot, descriptor = Slot.shared()
    member = Member(0, slot)
    metrics = Metrics(slot, lambda *_: None)
    for number in range(MOST_TENANTS + 10):
        metrics.settled("upsert", "applied", [of(f"t{number}")])
    lines = page(member)
    assert 'memq_tenant_messages_total{outcome="applied",tenant="other",worker="0"} 10.0' in lines
    names = {line.partition('tenant="')[2].partition('"')[0] for line in lines}
    assert names == {*(f"t{number}" for number in range(MOST_TENANTS)), "other"}
    again = Metrics(Slot.handed(descriptor), lambda *_: None)
    again.settled("upsert", "applied", [of("t7"), of("unseen")])
    lines = page(member)
    assert 'memq_tenant_messages_total{outcome="applied",tenant="t7",worker="0"} 2.0' in lines
    assert 'memq_tenant_messages_total{outcome="applied",tenant="other",worker="0"} 11.0' in lines
