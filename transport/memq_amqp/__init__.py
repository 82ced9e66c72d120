"""AMQP 0-9-1 at a fraction of the CPU, in front of an unmodified aiormq; producer and worker both stand on it.

aiormq makes three awaits, a lock and a buffer of every frame, and a task and several futures of every message. Here the
content frames of a channel are put together straight out of the socket's buffer, and confirmed publishes are joined
into one write a turn of the event loop. Handshake, heartbeats, declarations and closing are still aiormq's.
"""

from memq_amqp.address import Address, AddressError
from memq_amqp.brokers import Brokers, NoConnection
from memq_amqp.connect import connect, connect_stock, frames_of, unusable
from memq_amqp.connection import Channel, Connection, Declared
from memq_amqp.consume import Consumer, Received, get
from memq_amqp.loss import Lost, MessageRefused, Refused, Returned, SizeLimit, cancellable, losing
from memq_amqp.publish import Publisher, publisher
from memq_amqp.tasks import stop, stopped
from memq_amqp.wire.deliveries import Deliveries, How, Settlement, settle
from memq_amqp.wire.frames import Frames
from memq_amqp.wire.properties import Envelope, decode, encode
from memq_amqp.wire.publisher import ConfirmingPublisher
from memq_schemas.properties import Properties

__all__ = [
    "Address",
    "AddressError",
    "Brokers",
    "Channel",
    "ConfirmingPublisher",
    "Connection",
    "Consumer",
    "Declared",
    "Deliveries",
    "Envelope",
    "Frames",
    "How",
    "Lost",
    "MessageRefused",
    "NoConnection",
    "Properties",
    "Publisher",
    "Received",
    "Refused",
    "Returned",
    "Settlement",
    "SizeLimit",
    "cancellable",
    "connect",
    "connect_stock",
    "decode",
    "encode",
    "frames_of",
    "get",
    "losing",
    "publisher",
    "settle",
    "stop",
    "stopped",
    "unusable",
]
