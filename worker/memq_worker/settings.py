import os
import socket
from pathlib import Path
from typing import Annotated, Literal

from memq_amqp.address import DEFAULT_URL, Address, parse
from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from memq_schemas import Topology, secret_files, topology
from memq_schemas.topology import DEFAULT_PREFIX
from memq_worker import endpoints

STRICT_ATTEMPTS = 6  # with the waits between them: thirteen minutes

INTERNAL = "set by the pool for its children"

# Also read from the file that MEMQ_<NAME>_FILE names, which is how containers are given secrets.
SECRETS = ("amqp_url", "management_url", "qdrant_api_key")

_PREFIX = r"^[A-Za-z0-9_-]{1,40}(\.[A-Za-z0-9_-]{1,40}){0,3}$"


class Settings(BaseSettings):
    """Settings of a worker: from the flag, else from the MEMQ_ variable, else the default."""

    model_config = SettingsConfigDict(env_prefix="MEMQ_", extra="ignore", frozen=True, hide_input_in_errors=True)

    amqp_url: Annotated[
        SecretStr,
        Field(
            description="Address of RabbitMQ: amqp[s]://user:password@host:port/vhost. "
            "Separate several nodes of a cluster with commas."
        ),
    ] = SecretStr(DEFAULT_URL)
    management_url: Annotated[
        SecretStr | None,
        Field(
            description="Address of RabbitMQ's management API, http[s]://[user:password@]host:15672, from which "
            "`check` reads policies, and which `tenants` changes. The user is that of MEMQ_AMQP_URL unless given."
        ),
    ] = None
    prefix: Annotated[
        str, Field(pattern=_PREFIX, description="First part of the name of every exchange and queue.")
    ] = DEFAULT_PREFIX
    declare: Annotated[
        Literal["always", "check", "never"],
        Field(
            description="always: declare exchanges and queues at start; check: verify that they exist; never: neither."
        ),
    ] = "always"
    qdrant_url: Annotated[
        str | None,
        Field(description="gRPC address of Qdrant: http[s]://host:6334. If unset, the pool runs the embedded engine."),
    ] = None
    qdrant_api_key: Annotated[SecretStr | None, Field(description="API key of Qdrant.")] = None
    qdrant_cafile: Annotated[
        Path | None,
        Field(description="File of trusted certificates (PEM) for an https:// address; unset: the system's."),
    ] = None
    qdrant_certfile: Annotated[
        Path | None, Field(description="File of the client's certificate (PEM), for a Qdrant that asks for one.")
    ] = None
    qdrant_keyfile: Annotated[
        Path | None, Field(description="File of that certificate's private key (PEM); unset: the key is in certfile.")
    ] = None
    qdrant_proxy: Annotated[
        bool, Field(description="Whether calls to Qdrant go through the proxy of http_proxy or grpc_proxy.")
    ] = False
    data_dir: Annotated[Path, Field(description="Data directory of the embedded engine.")] = Path("memq-data")
    tenants_file: Annotated[
        Path | None,
        Field(description="TOML file of the tenants, read again when it changes. If unset, there are no tenants."),
    ] = None
    embedded_listen: Annotated[str, Field(description="host:port on which the embedded engine serves gRPC.")] = (
        "127.0.0.1:6334"
    )
    processes: Annotated[int, Field(ge=1, le=64, description="Number of worker processes in the pool.")] = 1
    prefetch: Annotated[
        int, Field(ge=1, le=10_000, description="Maximum number of unsettled writes per worker (AMQP prefetch).")
    ] = 256
    prefetch_bytes: Annotated[
        int,
        Field(
            ge=1024,
            description="Limit, in bytes, on unsettled writes per worker. Above it, all lanes but the live lane are "
            "paused and take turns. Relaxed order only.",
        ),
    ] = 16 * 2**20
    request_prefetch: Annotated[
        int, Field(ge=1, le=10_000, description="Maximum number of unsettled requests per worker (AMQP prefetch).")
    ] = 32
    transport: Annotated[
        Literal["fast", "stock"],
        Field(description="fast: memq's AMQP frame codec. stock: aiormq's, at several times the CPU."),
    ] = "fast"
    max_body_bytes: Annotated[
        int,
        Field(ge=1024, le=128 * 2**20, description="Maximum size of a message body in bytes; a larger one is refused."),
    ] = 8 * 2**20
    max_reply_bytes: Annotated[
        int,
        Field(
            ge=1024,
            le=128 * 2**20,
            description="Maximum size of a reply in bytes; keep it below RabbitMQ's max_message_size.",
        ),
    ] = 8 * 2**20
    reply_ttl_seconds: Annotated[
        float,
        Field(ge=1, le=30 * 86_400, description="Expiration in seconds of a reply to a message without a deadline."),
    ] = 3600.0
    broker_timestamp: Annotated[
        bool,
        Field(description="Whether RabbitMQ overwrites the header timestamp_in_ms of every message."),
    ] = False
    max_points: Annotated[
        int, Field(ge=1, le=100_000, description="Maximum number of points or ids in one message.")
    ] = 1000
    batch_points: Annotated[
        int, Field(ge=1, le=100_000, description="Maximum number of points in a merged write; a quarter for two lanes.")
    ] = 512
    batch_bytes: Annotated[
        int, Field(ge=1024, description="Maximum size of such a write in bytes of message bodies.")
    ] = 4 * 2**20
    writes_in_flight: Annotated[
        int, Field(ge=1, le=64, description="Maximum number of concurrent writes to one collection.")
    ] = 2
    store_writes: Annotated[
        int, Field(ge=1, le=256, description="Maximum number of writes in flight to the store, over all collections.")
    ] = 4
    bulk_weight: Annotated[
        float,
        Field(gt=0, le=1000, description="Share of the store of bulk lanes, while live lanes with share 1 write too."),
    ] = 1.0
    reply_to: Annotated[
        Literal["memq", "any"],
        Field(
            description="Queues that replies may go to. memq: <prefix>.reply.*, amq.gen-* and direct reply-to. "
            "any: every queue except memq's own."
        ),
    ] = "memq"
    max_attempts: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="Attempts at a write that fails for a reason in the message, before it is dead-lettered.",
        ),
    ] = 5
    order: Annotated[
        Literal["relaxed", "strict"],
        Field(description="strict: one worker at a time consumes writes, in queue order. relaxed: all workers do."),
    ] = "relaxed"
    store_timeout_seconds: Annotated[float, Field(gt=0, description="Timeout of one call to Qdrant in seconds.")] = 20.0
    filter_timeout_seconds: Annotated[
        float | None,
        Field(
            gt=0,
            description="Timeout of a delete or payload change by filter, in seconds; unset: store_timeout_seconds.",
        ),
    ] = None
    drain_seconds: Annotated[
        float,
        Field(gt=0, description="Maximum time in seconds to settle unsettled messages after the first stop signal."),
    ] = 30.0
    amqp_timeout_seconds: Annotated[
        float, Field(gt=0, description="Timeout in seconds for connecting, declaring and publisher confirms.")
    ] = 15.0
    consumer_timeout_seconds: Annotated[
        float,
        Field(
            gt=0,
            description="RabbitMQ's consumer_timeout in seconds. Writes held for half of it are released to the queue.",
        ),
    ] = 1800.0
    metrics_host: Annotated[str, Field(description="Address of the metrics endpoint.")] = "127.0.0.1"
    metrics_port: Annotated[
        int, Field(ge=0, le=65535, description="Port of the pool's metrics endpoint; 0 disables it.")
    ] = 9464
    worker_name: Annotated[
        str,
        Field(
            pattern=r"^[\x21-\x7e]{1,100}$",
            description="Name of the worker in logs, dead letters and RabbitMQ's connection list.",
        ),
    ] = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="Lowest level to log.")] = (
        "info"
    )
    log_format: Annotated[
        Literal["auto", "json", "text"], Field(description="auto: text on a terminal, JSON elsewhere.")
    ] = "auto"
    log_repeats: Annotated[
        int,
        Field(
            ge=0,
            description="Maximum identical log lines per ten seconds; the rest are summarised in one line. "
            "0 disables the limit.",
        ),
    ] = 20
    log_repeats_level: Annotated[
        Literal["info", "warning", "error"], Field(description="Lowest level that the limit applies to.")
    ] = "warning"

    parent_pid: Annotated[int | None, Field(description=INTERNAL)] = None
    slot: Annotated[int, Field(description=INTERNAL)] = 0
    slot_descriptor: Annotated[int | None, Field(description=INTERNAL)] = None

    _secret_files: dict[str, str] = PrivateAttr(default_factory=dict[str, str])

    @property
    def secret_files(self) -> dict[str, str]:
        """Files that secrets were read from, by setting."""
        return self._secret_files

    @property
    def topology(self) -> Topology:
        return topology(self.prefix, order=self.order)

    @property
    def brokers(self) -> tuple[Address, ...]:
        return parse(self.amqp_url.get_secret_value())

    @property
    def topology_labels(self) -> dict[str, str]:
        """Labels that tell this pool's queues from those of another installation on the same Prometheus."""
        return {"vhost": self.brokers[0].vhost, "prefix": self.prefix}

    @field_validator("amqp_url")
    @classmethod
    def _amqp(cls, value: SecretStr) -> SecretStr:
        parse(value.get_secret_value())
        return value

    @field_validator("qdrant_api_key")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        return endpoints.api_key(value)

    @field_validator("qdrant_url")
    @classmethod
    def _qdrant(cls, value: str | None) -> str | None:
        return endpoints.qdrant(value)

    @field_validator("data_dir", mode="before")
    @classmethod
    def _directory(cls, value: object) -> object:
        if value == "":
            raise ValueError("empty; expected a directory")
        return value

    @field_validator("tenants_file", mode="before")
    @classmethod
    def _tenants(cls, value: str | Path | None) -> Path | None:
        return endpoints.readable(Path(value)) if value else None

    @field_validator("qdrant_cafile", "qdrant_certfile", "qdrant_keyfile")
    @classmethod
    def _pem(cls, value: Path | None) -> Path | None:
        return endpoints.pem(value)

    @field_validator("embedded_listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        return endpoints.listen(value)

    @model_validator(mode="after")
    def _certificates(self) -> "Settings":
        if self.qdrant_keyfile and not self.qdrant_certfile:
            raise ValueError("qdrant_keyfile: needs qdrant_certfile, the certificate of this key")
        if (self.qdrant_cafile or self.qdrant_certfile) and not (self.qdrant_url or "").startswith("https:"):
            raise ValueError("qdrant_cafile, qdrant_certfile: need an https:// address in qdrant_url")
        return self

    @model_validator(mode="after")
    def _ladder(self) -> "Settings":
        # Each has to be able to end within the next, or the outer one cuts off work that was about to succeed.
        if not self.store_timeout_seconds < self.drain_seconds < self.consumer_timeout_seconds:
            raise ValueError("expected store_timeout_seconds < drain_seconds < consumer_timeout_seconds")
        if (self.filter_timeout_seconds or 0) >= self.drain_seconds:
            raise ValueError("expected filter_timeout_seconds < drain_seconds")
        if self.order == "strict" and self.max_attempts > STRICT_ATTEMPTS:
            raise ValueError(
                f"max_attempts: at most {STRICT_ATTEMPTS} with order strict, where all of them have to end within "
                "the consumer timeout"
            )
        return self


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    return "MEMQ_" + name.upper()


def file_variable(name: str) -> str:
    return secret_files.file_variable(variable(name))
