"""Is there a broker at this address? Asked with the standard library alone, before anything is installed."""

from __future__ import annotations

import base64
import json
import socket
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any

HEADER = b"AMQP\x00\x00\x09\x01"
# No proxy: a developer's http_proxy has no business with loopback.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotReady(Exception):
    pass


def answers(host: str, port: int, within: float = 5.0) -> bool:
    """True when the far side greets an AMQP 0-9-1 client (or, with TLS, at least takes the connection)."""
    with suppress(OSError), socket.create_connection((host, port), timeout=within) as sock:
        sock.sendall(HEADER)
        return bool(sock.recv(1))
    return False


def management(method: str, url: str, user: str, password: str, body: object = None, within: float = 30.0) -> Any:
    """One call to RabbitMQ's HTTP API; the answer's JSON, or None when there is none."""
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
    )
    with _http.open(request, timeout=within) as response:
        text = response.read()
    return json.loads(text) if text else None


def management_version(url: str, user: str, password: str, amqp_port: int) -> str:
    """The version of the node that serves `url` and listens on `amqp_port`; anything else is not ready."""
    try:
        overview = management("GET", f"{url}/api/overview", user, password, within=5.0)
    except (OSError, ValueError) as error:  # URLError and HTTPError are OSErrors
        raise NotReady(str(error)) from error
    if amqp_port not in {listener["port"] for listener in overview["listeners"]}:
        raise NotReady("no AMQP listener yet")
    return str(overview["rabbitmq_version"])
