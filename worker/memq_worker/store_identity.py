import asyncio
import json
import logging
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from memq_amqp import Connection
from yarl import URL

from memq_worker.amqp.announcement import Announcement, Unreadable, announcement
from memq_worker.amqp.session import Session
from memq_worker.errors import BrokerUnavailable, ConfigurationError, WorkerError
from memq_worker.qdrant.client import QdrantStore
from memq_worker.qdrant.features import EXTERNAL
from memq_worker.settings import Settings

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 1.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class StoreMismatch(ConfigurationError):
    """The workers of this prefix use another store."""


@dataclass(frozen=True, slots=True)
class Announced:
    """The store that the workers of a prefix write to, as the broker keeps it.

    `store` is the UUID of the embedded engine's data directory, or "external" for a Qdrant server. `url` is the address
    at which the announcing worker reaches it, `host` that worker's machine.
    """

    store: str
    url: str
    host: str
    worker: str
    at: str

    @classmethod
    def of(cls, store: str, settings: Settings) -> "Announced":
        url = URL(settings.qdrant_url or f"http://{settings.embedded_listen}").with_user(None).origin()
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return cls(store, str(url), socket.gethostname(), settings.worker_name, now)

    @classmethod
    def read(cls, body: bytes, queue: str) -> "Announced":
        """Raises ConfigurationError for a message that is not an announcement."""
        try:
            fields = json.loads(body)
            return cls(**{name: str(fields[name]) for name in cls.__slots__})
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(
                f"queue {queue!r} holds a message that is not a store's announcement: run memq-worker store forget"
            ) from None

    def body(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @property
    def described(self) -> str:
        kind = "a Qdrant server" if self.store == EXTERNAL else f"the embedded engine's store {self.store}"
        return f"{kind} at {self.url} on host {self.host}"

    @property
    def sharing(self) -> str:
        """Advice for a worker of another store to use this one."""
        how = f"set MEMQ_QDRANT_URL={self.url}"
        if URL(self.url).host in _LOOPBACK and self.host != socket.gethostname():
            how += f" on host {self.host}, or first start its engine with MEMQ_EMBEDDED_LISTEN=0.0.0.0:PORT"
        return how


def compare(own: str | None, current: Announced, settings: Settings) -> None:
    """Raise StoreMismatch if `current` is another store than `own`, which is None for one that does not exist yet."""
    if own == current.store:
        return
    mine = Announced.of(own or "", settings)
    described = mine.described if own else f"a new, empty store in {settings.data_dir}"
    raise StoreMismatch(
        f"this worker's store is {described}; the workers of prefix {settings.prefix!r} use {current.described}, "
        f"announced by {current.worker} at {current.at}.\n"
        f"To share that store, {current.sharing}.\n"
        "To keep both, give this worker another MEMQ_PREFIX or virtual host.\n"
        "To change to this worker's store, stop the other workers and run memq-worker store adopt."
    )


class StoreGuard:
    """Admits a worker to its store once the store is the one that the broker announces for its prefix."""

    def __init__(self, store: QdrantStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._queue = settings.topology.names.store
        self._own: str | None = None
        self._connection: Connection | None = None
        self.admitted = False

    async def check(self, connection: Connection) -> None:
        """Compare the worker's store with the announced one; announce it if none is.

        A store that does not answer is left for `watch`: the worker runs and calls to the store are held.

        Raises ConfigurationError, StoreMismatch among them, and BrokerUnavailable.
        """
        self._connection = connection
        if self._own is None:
            try:
                self._own = await self._store.identity()
            except WorkerError as error:
                logger.warning("store identity unknown, writes held", extra={"reason": error.message})
                return
        try:
            async with announcement(connection, self._queue, self._settings.amqp_timeout_seconds) as announced:
                compare(self._own, await self._current(announced, self._own), self._settings)
        except Unreadable as error:
            # The announcement's queue lives on one node. Without it nobody can tell two embedded stores apart, while
            # one Qdrant server is the usual case in a cluster.
            if not self.admitted and self._own != EXTERNAL:
                raise
            logger.warning("store identity not compared", extra={"reason": str(error)})
        self._store.admit(self._own)
        self.admitted = True

    async def _current(self, announced: Announcement, own: str) -> Announced:
        if announced.body is None:
            await announced.put(Announced.of(own, self._settings).body())
            logger.info("store announced", extra={"store": own, "queue": self._queue})
        return Announced.read(announced.body or b"", self._queue)

    async def watch(self, session: Session) -> None:
        """Repeat `check` until the worker is admitted, and end the session if it may not be."""
        try:
            while not self.admitted and self._connection is not None:
                await asyncio.sleep(_AGAIN_SECONDS)
                with suppress(WorkerError):
                    self._own = await self._store.identity()
                    await self.check(self._connection)
        except (ConfigurationError, BrokerUnavailable) as error:
            session.end(str(error))
        except Exception as error:
            logger.exception("unexpected error while the store's identity was unknown")
            session.end(f"unexpected {type(error).__name__}")
