"""RabbitMQ's management API, as far as tenants need it."""

import base64
import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit

from memq_amqp.address import bracketed
from memq_amqp.management import VARIABLE, ManagementError, management

from memq_worker.errors import BrokerUnavailable, ConfigurationError
from memq_worker.settings import Settings

_PORTS = {"http": 15672, "https": 15671}
_REASON_LIMIT = 200  # characters of the broker's reason


class Management:
    """One virtual host by one user, over one connection that stays open between calls.

    Every call raises BrokerUnavailable where nothing answers, and ConfigurationError with the broker's reason.
    """

    def __init__(self, url: str, user: str, password: str, vhost: str, timeout: float) -> None:
        self.user = user
        self.vhost = vhost
        self._url = url.rstrip("/")
        parts = urlsplit(self._url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        # Connects with the first call, and again where the broker has closed it.
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        self._path = f"{parts.path}/api/"
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    @classmethod
    def of(cls, settings: Settings) -> "Management":
        """The API of the first broker of `amqp_url`, or of `management_url`. Raises ConfigurationError."""
        broker = settings.brokers[0]
        given = settings.management_url
        scheme = "https" if broker.tls else "http"
        url = given.get_secret_value() if given else f"{scheme}://{bracketed(broker.host)}:{_PORTS[scheme]}"
        try:
            found = management(url, broker)
        except ManagementError as error:
            raise ConfigurationError(f"{VARIABLE}: {error}") from None
        return cls(found.url, found.user, found.password, broker.vhost, settings.amqp_timeout_seconds)

    def close(self) -> None:
        self._connection.close()

    def here(self, kind: str, *names: str) -> str:
        """Path of a resource of the virtual host: its kind, as in the API, and its names."""
        return "/".join((kind, quote(self.vhost, safe=""), *(quote(name, safe="") for name in names)))

    def get(self, path: str) -> Any:
        """The resource; None if there is none."""
        return self._call("GET", path)

    def put(self, path: str, body: Mapping[str, Any]) -> None:
        self._call("PUT", path, body)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._call("POST", path, body)

    def delete(self, path: str) -> None:
        """Delete a resource, or leave it at that where there is none."""
        self._call("DELETE", path)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        text = None if body is None else json.dumps(body)
        try:
            response = self._answer(method, path, text)
            answer = response.read()
            if response.status == 404 and method in ("GET", "DELETE"):
                return None
            if response.status >= 300:
                raise ConfigurationError(self._refused(method, path, response, answer))
            return json.loads(answer) if answer else None
        except (OSError, HTTPException, ValueError) as error:
            self._connection.close()
            raise BrokerUnavailable(
                f"RabbitMQ's management API at {self._url}: {error}; set MEMQ_MANAGEMENT_URL to its address"
            ) from None

    def _answer(self, method: str, path: str, body: str | None) -> HTTPResponse:
        for last in (False, True):
            kept = self._connection.sock is not None
            try:
                self._connection.request(method, f"{self._path}{path}", body, self._headers)
                return self._connection.getresponse()
            except (ConnectionError, HTTPException):
                # The broker closes a connection that is idle. Every call may be repeated.
                self._connection.close()
                if last or not kept:
                    raise
        raise AssertionError("unreachable")

    def _refused(self, method: str, path: str, response: HTTPResponse, answer: bytes) -> str:
        if response.status == 401:
            return f"RabbitMQ's management API at {self._url} refused user {self.user!r}: tag it administrator"
        try:
            reason = str(json.loads(answer).get("reason", response.reason))
        except (ValueError, AttributeError):
            reason = response.reason
        return f"RabbitMQ's management API refused {method} {path}: {response.status} {reason[:_REASON_LIMIT]}"
