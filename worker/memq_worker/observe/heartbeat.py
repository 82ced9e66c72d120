import asyncio
import time
from collections import deque
from collections.abc import Callable

from memq_worker.observe.metrics import Metrics

_EVERY_SECONDS = 0.5
_WINDOW_SECONDS = 10.0


async def heartbeat(metrics: Metrics, sample: Callable[[], None]) -> None:
    """Shows for ever that the event loop runs, and how late it runs; each time `sample` may set gauges."""
    late: deque[tuple[float, float]] = deque()
    while True:
        metrics.slot.beat()
        metrics.tick()
        sample()
        due = time.monotonic() + _EVERY_SECONDS
        await asyncio.sleep(_EVERY_SECONDS)
        now = time.monotonic()
        late.append((now, max(0.0, now - due)))
        while late[0][0] < now - _WINDOW_SECONDS:
            late.popleft()
        metrics.lag(max(seconds for _, seconds in late))
