"""AMQP 0-9-1 at a fraction of the CPU, in front of an unmodified aiormq; producer and worker both stand on it.

aiormq makes three awaits, a lock and a buffer of every frame, and a task and several futures of every message. Here the
content frames of a channel are put together straight out of the socket's buffer, and confirmed publishes are joined
into one write a turn of the event loop. Handshake, heartbeats, declarations and closing are still aiormq's.
"""

from memq_amqp.connect import connect, connect_stock, frames_of, unusable
from memq_amqp.loss import Lost, cancellable
from memq_amqp.publish import ConfirmingPublisher, Refused, Returned
from memq_amqp.tasks import stop, stopped
from memq_amqp.wire.deliveries import Deliveries, acknowledge
from memq_amqp.wire.frames import Frames
from memq_amqp.wire.properties import Envelope, Properties, decode, encode

__all__ = [
    "ConfirmingPublisher",
    "Deliveries",
    "Envelope",
    "Frames",
    "Lost",
    "Properties",
    "Refused",
    "Returned",
    "acknowledge",
    "cancellable",
    "connect",
    "connect_stock",
    "decode",
    "encode",
    "frames_of",
    "stop",
    "stopped",
    "unusable",
]
