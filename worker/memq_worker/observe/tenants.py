from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from memq_worker.observe import catalogue
from memq_worker.observe.catalogue import OTHER, PLACES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memq_worker.observe.slot import Slot
    from memq_worker.pipeline.delivery import Delivery


class Series(Protocol):
    """One series of a histogram."""

    def observe(self, value: float) -> None: ...


class TenantMetrics:
    """Counts by tenant, in the series that the slot gives to each name."""

    def __init__(self, slot: Slot, histogram: Callable[[memoryview[float], int, tuple[float, ...]], Series]) -> None:
        """histogram: a series in the slot's numbers, from a place on, with these edges."""
        self._histogram = histogram
        self._slot = slot
        self._numbers = slot.numbers
        self._labels: dict[str, str] = {}
        self._delays: dict[str, Series] = {}
        self._queues: dict[str, dict[str, int]] = {}

    def _label(self, tenant: str) -> str:
        label = self._labels.get(tenant)
        if label is None:
            label = self._slot.tenant(tenant)
            if len(self._labels) < 10 * catalogue.MOST_TENANTS or label != OTHER:
                self._labels[tenant] = label
        return label

    def settled(self, operation: str, outcome: str, deliveries: Sequence[Delivery]) -> None:
        delayed, now = operation in catalogue.WRITTEN, time.time()
        for delivery in deliveries:
            label = self._label(delivery.tenant or OTHER)
            self._numbers[PLACES[catalogue.TENANT_MESSAGES.name, (label, outcome)]] += 1
            if delayed and (published := delivery.properties.published):
                self._delay(label).observe(max(0.0, now - published))

    def _delay(self, label: str) -> Series:
        found = self._delays.get(label)
        if found is None:
            place = PLACES[catalogue.TENANT_DELAY.name, (label,)]
            found = self._delays[label] = self._histogram(self._numbers, place, catalogue.TENANT_DELAY.edges)
        return found

    def limited(self, tenant: str, limit: str) -> None:
        self._numbers[PLACES[catalogue.TENANT_LIMITED.name, (self._label(tenant), limit)]] += 1

    def queue(self, tenant: str, messages: int) -> None:
        """Set the depth of a tenant's lanes. Tenants without a series of their own are added up."""
        label = self._label(tenant)
        depths = self._queues.setdefault(label, {})
        depths[tenant] = messages
        self._numbers[PLACES[catalogue.TENANT_QUEUE_MESSAGES.name, (label,)]] = sum(depths.values())
