"""Losses and refusals of the broker: one table of what it says, and whose fault that is."""

from __future__ import annotations

import errno
import os
import re
import ssl
from dataclasses import dataclass
from enum import StrEnum

from aiormq import exceptions
from pamqp.exceptions import PAMQPException

from memq_amqp.tls import TlsError

# Every way in which aio_pika and aiormq report a refusal or a loss; RuntimeError is what a closed channel raises.
LOSSES = (exceptions.AMQPError, PAMQPException, OSError, RuntimeError)


class Fault(StrEnum):
    """Party that has to act on a refusal.

    message: this message is refused whenever it is sent; its neighbours are not.
    settings: a person has to change an address, a permission, a limit or the topology.
    broker: it passes by itself; try again with backoff.
    unsure: the broker does not say which of these it is; try again with backoff and an end.
    """

    MESSAGE = "message"
    SETTINGS = "settings"
    BROKER = "broker"
    UNSURE = "unsure"


class Kind(StrEnum):
    CREDENTIALS = "credentials"
    VHOST_MISSING = "vhost_missing"
    VHOST_FORBIDDEN = "vhost_forbidden"
    VHOST_DOWN = "vhost_down"
    CONNECTION_LIMIT = "connection_limit"
    CHANNEL_LIMIT = "channel_limit"
    QUEUE_LIMIT = "queue_limit"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"
    QUEUE_DOWN = "queue_down"
    LOCKED = "locked"
    MISMATCH = "mismatch"
    TOO_LARGE = "too_large"
    HEADERS_TOO_LARGE = "headers_too_large"
    PROPERTY = "property"
    REPLY_TO = "reply_to"
    CONSUMER_TIMEOUT = "consumer_timeout"
    UNKNOWN_TAG = "unknown_tag"
    INTERNAL = "internal"
    NOT_IMPLEMENTED = "not_implemented"
    OVERLOADED = "overloaded"
    CLOSED = "closed"
    PROTOCOL = "protocol"
    TLS = "tls"
    UNREACHABLE = "unreachable"
    NACK = "nack"
    RETURN = "return"
    TIMEOUT = "timeout"
    LOST = "lost"


_FAULTS = {
    Kind.CREDENTIALS: Fault.SETTINGS,
    Kind.VHOST_MISSING: Fault.SETTINGS,
    Kind.VHOST_FORBIDDEN: Fault.SETTINGS,
    Kind.VHOST_DOWN: Fault.BROKER,
    # Other connections and channels end by themselves.
    Kind.CONNECTION_LIMIT: Fault.BROKER,
    Kind.CHANNEL_LIMIT: Fault.BROKER,
    Kind.QUEUE_LIMIT: Fault.SETTINGS,
    Kind.PERMISSION: Fault.SETTINGS,
    Kind.NOT_FOUND: Fault.SETTINGS,
    Kind.QUEUE_DOWN: Fault.BROKER,
    Kind.LOCKED: Fault.BROKER,
    Kind.MISMATCH: Fault.SETTINGS,
    Kind.TOO_LARGE: Fault.MESSAGE,
    Kind.HEADERS_TOO_LARGE: Fault.MESSAGE,
    Kind.PROPERTY: Fault.MESSAGE,
    Kind.REPLY_TO: Fault.MESSAGE,
    Kind.CONSUMER_TIMEOUT: Fault.BROKER,
    Kind.UNKNOWN_TAG: Fault.UNSURE,
    # RabbitMQ 3.10 answers a forged direct reply-to address with it, and its own defects.
    Kind.INTERNAL: Fault.UNSURE,
    Kind.NOT_IMPLEMENTED: Fault.UNSURE,
    Kind.OVERLOADED: Fault.BROKER,
    Kind.CLOSED: Fault.BROKER,
    Kind.PROTOCOL: Fault.UNSURE,
    Kind.TLS: Fault.SETTINGS,
    Kind.UNREACHABLE: Fault.BROKER,
    Kind.NACK: Fault.BROKER,
    Kind.RETURN: Fault.SETTINGS,
    Kind.TIMEOUT: Fault.BROKER,
    Kind.LOST: Fault.BROKER,
}

# By reply code; the first row whose pattern is found in the reply text. A group called `limit` is a number.
_ROWS: dict[int, tuple[tuple[str, Kind], ...]] = {
    320: (("", Kind.CLOSED),),
    402: (("", Kind.PROPERTY),),
    403: (
        (r"Login was refused", Kind.CREDENTIALS),
        (r"authentication failure", Kind.CREDENTIALS),
        (r"in exclusive use", Kind.LOCKED),
        ("", Kind.PERMISSION),
    ),
    404: ((r"is down or inaccessible", Kind.QUEUE_DOWN), ("", Kind.NOT_FOUND)),
    405: (("", Kind.LOCKED),),
    406: (
        (r"message size \d+ is larger than (?:configured )?max size (?P<limit>\d+)", Kind.TOO_LARGE),
        (r"fast reply consumer", Kind.REPLY_TO),
        (r"user_id property|invalid expiration|invalid message|header", Kind.PROPERTY),
        (r"acknowledgement on channel \d+ timed out", Kind.CONSUMER_TIMEOUT),
        (r"unknown delivery tag", Kind.UNKNOWN_TAG),
        (r"queue limit in vhost .* \((?P<limit>\d+)\)", Kind.QUEUE_LIMIT),
        ("", Kind.MISMATCH),
    ),
    501: (
        (r"\{frame_too_large,\d+,(?P<limit>\d+)\}", Kind.HEADERS_TOO_LARGE),
        (r"frame size", Kind.HEADERS_TOO_LARGE),
        ("", Kind.PROTOCOL),
    ),
    502: (("", Kind.PROTOCOL),),
    503: (("", Kind.PROTOCOL),),
    504: (("", Kind.PROTOCOL),),
    505: (("", Kind.PROTOCOL),),
    506: (("", Kind.OVERLOADED),),
    530: (
        (r"connection limit \((?P<limit>\d+)\)", Kind.CONNECTION_LIMIT),
        (r"number of channels opened .*\((?P<limit>\d+)\)", Kind.CHANNEL_LIMIT),
        (r"is down", Kind.VHOST_DOWN),
        (r"vhost .* not found", Kind.VHOST_MISSING),
        (r"access to vhost", Kind.VHOST_FORBIDDEN),
        ("", Kind.MISMATCH),
    ),
    540: (("", Kind.NOT_IMPLEMENTED),),
    541: ((r"vhost .* is down", Kind.VHOST_DOWN), ("", Kind.INTERNAL)),
}

# What has no reply code; the first row whose class fits.
_KINDS: tuple[tuple[tuple[type[BaseException], ...], Kind], ...] = (
    ((exceptions.PublishError,), Kind.RETURN),
    ((exceptions.DeliveryError,), Kind.NACK),
    ((exceptions.AuthenticationError,), Kind.CREDENTIALS),
    ((exceptions.ProtocolSyntaxError, exceptions.IncompatibleProtocolError, PAMQPException), Kind.PROTOCOL),
    ((exceptions.AMQPError, exceptions.ChannelInvalidStateError), Kind.LOST),
    ((TimeoutError,), Kind.TIMEOUT),
    ((OSError,), Kind.LOST),
)

_TEXTS = {
    Kind.RETURN: "no queue takes the message",
    Kind.NACK: "the broker rejected the message: a queue is full or elects its leader",
    Kind.TIMEOUT: "no answer in time",
    Kind.CREDENTIALS: "the broker offers no login by user and password",
}

# aiormq has a class for each of these codes, and drops the number.
_CODES: tuple[tuple[type[exceptions.AMQPError], int], ...] = (
    (exceptions.ProbableAuthenticationError, 403),
    (exceptions.ChannelAccessRefused, 403),
    (exceptions.ChannelNotFoundEntity, 404),
    (exceptions.ChannelLockedResource, 405),
    (exceptions.ChannelPreconditionFailed, 406),
    (exceptions.ConnectionFrameError, 501),
    (exceptions.ConnectionSyntaxError, 502),
    (exceptions.ConnectionCommandInvalid, 503),
    (exceptions.ConnectionChannelError, 504),
    (exceptions.ConnectionUnexpectedFrame, 505),
    (exceptions.ConnectionResourceError, 506),
    (exceptions.ConnectionNotAllowed, 530),
    (exceptions.DuplicateConsumerTag, 530),
    (exceptions.ConnectionNotImplemented, 540),
    (exceptions.ConnectionInternalError, 541),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Refusal by the broker or by the path to it.

    text: the broker's own words, or the system's; it names users and queues, and never a password.
    code: the AMQP reply code; None where the broker did not send one.
    limit: the limit that the text names: bytes of a message or frame, connections, channels, queues.
    """

    kind: Kind
    text: str
    code: int | None = None
    limit: int | None = None

    @property
    def fault(self) -> Fault:
        return _FAULTS[self.kind]

    def __str__(self) -> str:
        return self.text


def by_code(code: int, text: str) -> Refusal:
    """The row of a reply code and text, as in Channel.Close, Connection.Close and Basic.Return."""
    if code in (312, 313):
        return Refusal(Kind.RETURN, text, code)
    for pattern, kind in _ROWS.get(code, ()):
        if (found := re.search(pattern, text)) is not None:
            limit = found.groupdict().get("limit")
            return Refusal(kind, _words(text), code, None if limit is None else int(limit))
    return Refusal(Kind.LOST, _words(text) or f"closed with code {code}", code)


def refusal_of(error: BaseException) -> Refusal | None:
    """The refusal behind an exception of aio_pika, aiormq or the system; None for any other exception."""
    if (found := _reply(error)) is not None:
        return by_code(*found)
    for cause in (error, error.__cause__):
        if isinstance(cause, TlsError):
            return Refusal(Kind.TLS, str(cause))
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            return Refusal(Kind.TLS, _openssl(cause))
    for kinds, kind in _KINDS:
        if isinstance(error, kinds):
            return _unreachable(error) or Refusal(kind, _TEXTS.get(kind) or str(error) or type(error).__name__)
    return None


def _reply(error: BaseException) -> tuple[int, str] | None:
    """Reply code and text of the broker's close."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code, str(error.args[-1]) if error.args else ""
    if isinstance(error, (exceptions.ConnectionClosed, exceptions.ChannelClosed)) and len(error.args) > 1:
        code, text = error.args[:2]
        return (code, str(text or "")) if isinstance(code, int) else None
    return None


# Before a connection is made; afterwards the same errors mean that it was lost.
_NO_WAY = (
    errno.ECONNREFUSED,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EADDRNOTAVAIL,
    errno.ENOENT,
)


def _unreachable(error: BaseException) -> Refusal | None:
    """The refusal of the system that no connection could be made; None for a connection that was lost later."""
    cause = error if isinstance(error, OSError) and error.errno else error.__cause__
    # Name resolution has negative numbers, which only its own text explains.
    if isinstance(cause, OSError) and cause.errno is not None and (cause.errno < 0 or cause.errno in _NO_WAY):
        return Refusal(Kind.UNREACHABLE, str(cause.strerror) if cause.errno < 0 else os.strerror(cause.errno))
    # asyncio's words for a name with several addresses, none of which could be reached.
    _, several, reasons = str(cause or error).partition("Multiple exceptions: ")
    return Refusal(Kind.UNREACHABLE, reasons) if several else None


def _openssl(error: ssl.SSLError) -> str:
    """Without library, constant and line of the source, as in `[SSL: REASON] … (_ssl.c:1006)`."""
    return re.sub(r"^\[.*?\] | \(_ssl\.c:\d+\)$", "", str(error)) or "handshake failed"


def _words(text: str) -> str:
    """Without RabbitMQ's constant in front, which repeats the code."""
    return re.sub(r"^[A-Z_]+ - ", "", text)
