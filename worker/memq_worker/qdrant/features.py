import re
import time
from collections.abc import Awaitable, Callable

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError

EXTERNAL = "external"
_FRESH_SECONDS = 60.0


class Features:
    """What the store can do, by its version, which is asked once a minute."""

    def __init__(self, version: Callable[[], Awaitable[str]], identity: Callable[[], Awaitable[str]]) -> None:
        self._version = version
        self._identity = identity
        self._known: tuple[str, bool] = ("", False)
        self._asked = -_FRESH_SECONDS

    async def require(self, what: str, major: int, minor: int) -> None:
        """Raise MessageError if a Qdrant server is older than this version: it would ignore what it does not know."""
        if time.monotonic() - self._asked >= _FRESH_SECONDS:
            self._known = (await self._version(), await self._identity() == EXTERNAL)
            self._asked = time.monotonic()
        version, is_server = self._known
        found = re.match(r"(\d+)\.(\d+)", version)
        if is_server and found is not None and (int(found[1]), int(found[2])) < (major, minor):
            raise MessageError(
                ErrorCode.UNSUPPORTED_BY_STORE, f"{what}: needs Qdrant {major}.{minor} or later, the store is {version}"
            )
