"""Expressions that have a value from the first scrape on: 0 before any message, never NaN and never empty."""

from __future__ import annotations

WINDOW = "$__rate_interval"


def selected(metric: str, *matchers: str) -> str:
    selector = ",".join(matcher for matcher in matchers if matcher)
    return f"{metric}{{{selector}}}" if selector else metric


def per_second(counter: str, *matchers: str, by: str = "") -> str:
    """Rate of a counter, summed, or for each value of the labels `by`."""
    return f"{_sum(by)}(rate({selected(counter, *matchers)}[{WINDOW}]))"


def grown(counter: str, *matchers: str, by: str = "", window: str = WINDOW) -> str:
    return f"{_sum(by)}(increase({selected(counter, *matchers)}[{window}]))"


def quantile(share: float, histogram: str, *matchers: str, by: str = "") -> str:
    """Quantile of a histogram, or 0 without observations, where PromQL returns NaN."""
    labels = f"{by},le" if by else "le"
    buckets = per_second(f"{histogram}_bucket", *matchers, by=labels)
    nothing = f"0 * {per_second(f'{histogram}_count', *matchers, by=by)}"
    return f"histogram_quantile({share:g}, {buckets}) >= 0 or {nothing}"


def mean(histogram: str, *matchers: str) -> str:
    total, count = (per_second(f"{histogram}_{part}", *matchers) for part in ("sum", "count"))
    return f"{total} / clamp_min({count}, 0.000000001)"


def share_left(bad: str, of: str) -> str:
    """1 without any. Both are numbers of messages."""
    return f"1 - ({bad}) / clamp_min({of}, 1)"


def of_process(expression: str) -> str:
    """Add a label `process` to series of processes: the pool's parent process has no label `worker`."""
    named = f'label_replace({expression}, "process", "worker $1", "worker", "(.+)")'
    return f'label_replace({named}, "process", "parent", "worker", "")'


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"
