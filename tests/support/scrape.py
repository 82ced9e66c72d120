"""What a worker's endpoint says, read with Prometheus's own parser."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.until import until

_SECONDS = 10

_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetched(port: int, path: str) -> tuple[int, str]:
    """Status and body; status 0 while nothing listens."""
    try:
        with _http.open(f"http://127.0.0.1:{port}{path}", timeout=_SECONDS) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()
    except OSError:
        return 0, ""


def verdict(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """/livez or /readyz."""
    status, body = fetched(port, path)
    return status, json.loads(body) if body else {}


@dataclass(frozen=True, slots=True)
class Scrape:
    text: str
    types: dict[str, str]
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def matching(self, name: str, **labels: str) -> dict[frozenset[tuple[str, str]], float]:
        wanted = set(labels.items())
        return {found: value for (other, found), value in self.samples.items() if other == name and wanted <= found}

    def total(self, name: str, **labels: str) -> float:
        """The sum of the series with these labels; fails when there is none."""
        found = self.matching(name, **labels)
        assert found, f"no series {name} {labels}"
        return sum(found.values())

    @property
    def cumulative(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Every number that may only grow."""
        growing = {name for name, kind in self.types.items() if kind in ("counter", "histogram")}
        return {
            series: value
            for series, value in self.samples.items()
            if series[0].removesuffix("_total") in growing
            or series[0].rpartition("_")[0] in growing  # _bucket, _count, _sum
        }


def scraped(port: int) -> Scrape:
    status, text = fetched(port, "/metrics")
    assert status == 200, (status, text)
    families = list(text_string_to_metric_families(text))
    return Scrape(
        text,
        {family.name: family.type for family in families},
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        },
    )


async def says(status: int, port: int, path: str, within: float = 30.0) -> dict[str, Any]:
    """The body of /livez or /readyz, as soon as it comes with this status."""

    def body() -> dict[str, Any] | None:
        found, said = verdict(port, path)
        return said if found == status else None

    said = await until(lambda: asyncio.to_thread(body), within=within)
    assert said is not None
    return said
