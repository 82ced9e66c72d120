"""RabbitMQ and Qdrant as a worker's settings describe them, with secrets that may be renewed."""

import logging
from collections.abc import Sequence
from ipaddress import ip_address

from memq_amqp import Address, AddressError
from memq_amqp.address import parse
from yarl import URL

from memq_schemas.secret_files import SecretFileError, read_secret
from memq_worker.amqp.connection import Brokers
from memq_worker.qdrant.channel import Security
from memq_worker.settings import Settings, file_variable

logger = logging.getLogger(__name__)


def brokers(settings: Settings) -> Brokers:
    """The nodes of RabbitMQ; a file of the address is read again when the login is refused."""

    def reread() -> Sequence[Address]:
        try:
            return parse(read_secret(settings.secret_files["amqp_url"]))
        except SecretFileError as error:
            raise AddressError(f"{file_variable('amqp_url')}: {error}") from None

    return Brokers(
        settings.brokers,
        settings.worker_name,
        settings.amqp_timeout_seconds,
        fast=settings.transport == "fast",
        reread=reread if "amqp_url" in settings.secret_files else None,
    )


def api_key(settings: Settings) -> str | None:
    return settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None


def security(settings: Settings) -> Security:
    """Return certificates, proxy and key of Qdrant; a file of the API key is read again when the key is refused."""

    def reread() -> str | None:
        try:
            return read_secret(settings.secret_files["qdrant_api_key"])
        except SecretFileError as error:
            logger.warning("API key not renewed", extra={"reason": f"{file_variable('qdrant_api_key')}: {error}"})
            return None

    return Security(
        settings.qdrant_cafile,
        settings.qdrant_certfile,
        settings.qdrant_keyfile,
        settings.qdrant_proxy,
        reread if "qdrant_api_key" in settings.secret_files else None,
    )


def warn(settings: Settings) -> None:
    """Log settings that work and are dangerous."""
    if settings.qdrant_api_key and settings.qdrant_url:
        url = URL(settings.qdrant_url)
        if url.scheme == "http" and not _loopback(url.host or ""):
            logger.warning("API key sent without TLS", extra={"qdrant": f"{url.host}:{url.port}"})


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
