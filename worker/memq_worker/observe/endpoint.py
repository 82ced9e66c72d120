import json
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from socket import AF_INET6
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app  # pyright: ignore[reportUnknownVariableType]

from memq_worker.errors import ConfigurationError
from memq_worker.observe import runbooks
from memq_worker.observe.exposition import Exposition
from memq_worker.observe.member import Member
from memq_worker.observe.probes import livez, readyz

# For a request to arrive and its answer to leave: a client that hangs holds a thread.
_CLIENT_SECONDS = 10.0

_VERDICTS: dict[str, Callable[[Sequence[Member]], tuple[bool, dict[str, Any]]]] = {"/livez": livez, "/readyz": readyz}


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _CLIENT_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Application:
    def __init__(self, members: Sequence[Member], exposition: Exposition) -> None:
        registry = CollectorRegistry()
        registry.register(exposition)
        self._members = members
        self._metrics: Any = make_wsgi_app(registry)  # pyright: ignore[reportUnknownVariableType]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return self._metrics(environ, start_response)
        if path == "/runbooks":
            start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
            return [runbooks.page()]
        verdict = _VERDICTS.get(path)
        if verdict is None:
            return _answered(start_response, "404 Not Found", {"paths": ["/metrics", "/runbooks", *_VERDICTS]})
        good, body = verdict(self._members)
        return _answered(start_response, "200 OK" if good else "503 Service Unavailable", body)


def _answered(start_response: Any, status: str, body: dict[str, Any]) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
    return [json.dumps(body).encode() + b"\n"]


@contextmanager
def served(members: Sequence[Member], exposition: Exposition, host: str, port: int) -> Generator[None]:
    """Serve /metrics, /livez, /readyz and /runbooks on threads, which answer while event loops are busy or stuck.

    Port 0 serves nothing. Raises ConfigurationError when the port cannot be had.
    """
    if not port:
        yield
        return
    try:
        server = make_server(
            host,
            port,
            _Application(members, exposition),
            server_class=_Server6 if ":" in host else _Server,
            handler_class=_Handler,
        )
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
