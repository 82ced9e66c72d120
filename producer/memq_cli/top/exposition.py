"""The workers' /metrics pages, fetched and read. The only module that imports prometheus_client, and only to read."""

from __future__ import annotations

import asyncio
import http.client
import urllib.error
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT = "http://127.0.0.1:9464/metrics"
FETCH_SECONDS = 2.0
LARGEST = 32 * 2**20

# No proxy: pools are on this machine or in its own network.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Unreadable(Exception):
    """A metrics page that does not come or cannot be read; the text says why."""


@dataclass(slots=True)
class Page:
    """Series by the name of their samples. `at`: seconds, of the clock that the reader keeps."""

    at: float = 0.0
    series: dict[str, list[tuple[Mapping[str, str], float]]] = field(default_factory=lambda: defaultdict(list))

    def each(self, name: str, **labels: str) -> Iterator[tuple[Mapping[str, str], float]]:
        for found, value in self.series.get(name, ()):
            if labels.items() <= found.items():
                yield found, value

    def sum(self, name: str, **labels: str) -> float:
        return sum(value for _, value in self.each(name, **labels))

    def one(self, name: str, **labels: str) -> float | None:
        return next((value for _, value in self.each(name, **labels)), None)


def metrics_url(text: str) -> str:
    """`host:port` is enough. Raises ValueError."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise ValueError("expected http://host:9464/metrics")
    return parts._replace(path=parts.path if parts.path.strip("/") else "/metrics").geturl()


async def fetch(url: str) -> Page:
    """Raises Unreadable."""
    return parse(await asyncio.to_thread(_text, url))


def parse(text: str) -> Page:
    """Raises Unreadable."""
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError:
        raise Unreadable("reading it needs prometheus-client: pip install 'memq[top]'") from None
    page = Page()
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                page.series[sample.name].append((sample.labels, sample.value))
    except (ValueError, KeyError, IndexError):
        raise Unreadable("not a metrics page") from None
    if not any(name.startswith("memq_") for name in page.series):
        raise Unreadable("a metrics page, but not of a memq worker")
    return page


def _text(url: str) -> str:
    try:
        with _http.open(url, timeout=FETCH_SECONDS) as response:
            return response.read(LARGEST).decode()
    except UnicodeDecodeError:
        raise Unreadable("not a metrics page") from None
    except urllib.error.HTTPError as error:
        raise Unreadable(f"HTTP status {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        # urllib puts what has happened into `reason`, and its own words around it.
        reason = getattr(error, "reason", error)
        raise Unreadable(getattr(reason, "strerror", None) or str(reason) or type(reason).__name__) from None
