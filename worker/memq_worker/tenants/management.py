"""RabbitMQ's management API, as far as tenants need it."""

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from memq_amqp import management
from memq_amqp.address import bracketed

from memq_worker.errors import BrokerUnavailable, ConfigurationError
from memq_worker.settings import Settings

_PORTS = {"http": 15672, "https": 15671}
_REASON_LIMIT = 200  # characters of the broker's reason


class Management:
    """One virtual host by one user.

    Every call raises BrokerUnavailable where nothing answers, and ConfigurationError with the broker's reason.
    """

    def __init__(self, api: management.Management, vhost: str) -> None:
        self.user = api.user
        self.vhost = vhost
        self._api = api

    @classmethod
    def of(cls, settings: Settings) -> "Management":
        """The API of the first broker of `amqp_url`, or of `management_url`. Raises ConfigurationError."""
        broker = settings.brokers[0]
        given = settings.management_url
        scheme = "https" if broker.tls else "http"
        url = given.get_secret_value() if given else f"{scheme}://{bracketed(broker.host)}:{_PORTS[scheme]}"
        try:
            found = management.management(url, broker, settings.amqp_timeout_seconds)
        except management.ManagementError as error:
            raise ConfigurationError(f"{management.VARIABLE}: {error}") from None
        return cls(found, broker.vhost)

    def close(self) -> None:
        self._api.connection.close()

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
        try:
            answer = self._api.connection.call(method, path, body)
            if answer.status == 404 and method in ("GET", "DELETE"):
                return None
            if answer.status >= 300:
                raise ConfigurationError(self._refused(method, path, answer))
            return json.loads(answer.body) if answer.body else None
        except (OSError, HTTPException, ValueError) as error:
            raise BrokerUnavailable(
                f"RabbitMQ's management API at {self._api}: {error}; set MEMQ_MANAGEMENT_URL to its address"
            ) from None

    def _refused(self, method: str, path: str, answer: management.Answer) -> str:
        if answer.status == 401:
            return f"RabbitMQ's management API at {self._api} refused user {self.user!r}: tag it administrator"
        try:
            reason = str(json.loads(answer.body).get("reason", answer.reason))
        except (ValueError, AttributeError):
            reason = answer.reason
        return f"RabbitMQ's management API refused {method} {path}: {answer.status} {reason[:_REASON_LIMIT]}"
