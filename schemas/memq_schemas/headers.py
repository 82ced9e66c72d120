"""Names on the envelope: AMQP headers that are ours, content types, and the values we put into properties."""

RETRY_COUNT = "x-retry-count"  # attempts already spent; absent on a first publish
DEADLINE = "x-deadline"  # epoch milliseconds after which nobody waits for the answer
SENT = "x-sent"  # epoch milliseconds at which a producer of memq's published this attempt
BROKER_TIMESTAMP = "timestamp_in_ms"  # RabbitMQ's own, where it is configured to set it

# Written by workers alone, on their way through memq's own exchanges; a client's own is removed at the first delivery.
LANE = "x-lane"
PARKED = "x-parked"  # place of a message that waits because its collection is held or throttled
TENANT = "x-tenant"
# Properties of the message as its sender published it: a copy needs a message id of its own, and the broker accepts a
# user from that user alone.
MESSAGE_ID = "x-message-id"
USER_ID = "x-user-id"
ORIGIN = frozenset((MESSAGE_ID, USER_ID))

ERROR_CODE = "x-error-code"
ERROR_STAGE = "x-error-stage"
EXCEPTION_CLASS = "x-exception-class"
EXCEPTION_MESSAGE = "x-exception-message"
FIRST_FAILED_AT = "x-first-failed-at"  # RFC 3339, UTC
LAST_FAILED_AT = "x-last-failed-at"
ORIGINAL_QUEUE = "x-original-queue"
WORKER = "x-worker"

# What a worker writes when it retries or gives up. Sent again for a new start, a message carries none of it.
SPENT = frozenset(
    {
        RETRY_COUNT,
        DEADLINE,
        SENT,
        ERROR_CODE,
        ERROR_STAGE,
        EXCEPTION_CLASS,
        EXCEPTION_MESSAGE,
        FIRST_FAILED_AT,
        LAST_FAILED_AT,
        ORIGINAL_QUEUE,
        WORKER,
        LANE,
        PARKED,
        TENANT,
        MESSAGE_ID,
        USER_ID,
    }
)

TRACEPARENT = "traceparent"  # W3C Trace Context, carried from request to reply

# Headers the broker writes as a message travels. A copy that we publish must not carry them on: from RabbitMQ 4.0 the
# delivery count is kept, and 4.3 enforces it.
BROKER_PREFIXES = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")

JSON = "application/json"
ARROW_STREAM = "application/vnd.apache.arrow.stream"

PERSISTENT = 2
TRANSIENT = 1

# RabbitMQ 4.3's quorum queues serve strictly by priority and read an absent one as 4, so every publish says it.
PRIORITY = 4

APP_ID = "memq"

MOST_SECONDS = 30 * 86_400  # that a request or a reply may wait


def expiration(seconds: float) -> str:
    """The property `expiration` of a message that may wait for so long: from a millisecond to 30 days.

    RabbitMQ refuses more than ten years.
    """
    return str(max(1, int(1000 * min(seconds, MOST_SECONDS))))
