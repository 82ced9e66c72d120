import threading
from collections.abc import Generator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app  # pyright: ignore[reportUnknownVariableType]

from memq_worker.errors import ConfigurationError
from memq_worker.observe.exposition import Exposition

_CLIENT_SECONDS = 10.0


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = _CLIENT_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(exposition: Exposition, host: str, port: int) -> Generator[None]:
    """/metrics, on threads of its own so that it answers while an event loop is busy or stuck.

    Port 0 serves nothing. Raises ConfigurationError when the port cannot be had.
    """
    if not port:
        yield
        return
    registry = CollectorRegistry()
    registry.register(exposition)
    page: Any = make_wsgi_app(registry)  # pyright: ignore[reportUnknownVariableType]
    try:
        server = make_server(host, port, page, server_class=_Server, handler_class=_Handler)
    except OSError as error:
        raise ConfigurationError(
            f"MEMQ_METRICS_PORT: cannot listen on {host}:{port} ({error.strerror}); choose another, or 0 for none"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
