from typing import Any

import orjson

from memq_qdrant import grpc
from memq_schemas import Scroll
from memq_worker.qdrant.filters import point_id, where
from memq_worker.qdrant.orders import order_by
from memq_worker.qdrant.reads import id_of, payload_selector, record
from memq_worker.qdrant.replies import ReplyLimit, too_large

_AROUND = 1024  # bytes of a reply beside its points


def scroll_request(collection: str, scroll: Scroll) -> Any:
    return grpc.ScrollPoints(
        collection_name=collection,
        filter=where(scroll.filter),
        offset=None if scroll.offset is None else point_id(scroll.offset),
        limit=scroll.limit,
        with_payload=payload_selector(scroll.with_payload),
        with_vectors=grpc.WithVectorsSelector(enable=bool(scroll.with_vector)),
        order_by=None if scroll.order_by is None else order_by(scroll.order_by),
    )


def page(reply: Any, scroll: Scroll, replies: ReplyLimit) -> dict[str, Any]:
    """The points of a page as far as one reply holds them, and the id that the next page begins with.

    Raises MessageError if the first point alone is too large.
    """
    points: list[dict[str, Any]] = []
    following = id_of(reply.next_page_offset) if reply.HasField("next_page_offset") else None
    room = replies.most - _AROUND
    measured = not replies.surely_holds(reply)
    for point in reply.result:
        made = _ordered(point, scroll)
        if measured:
            room -= len(orjson.dumps(made)) + 1
            if room < 0:
                if not points:
                    raise too_large(replies.most)
                following = None if scroll.order_by is not None else id_of(point.id)
                break
        points.append(made)
    return {"points": points, "next": following}


def _ordered(point: Any, scroll: Scroll) -> dict[str, Any]:
    found = record(point, scroll.with_payload, scroll.with_vector)
    if point.HasField("order_value"):
        found["order_value"] = getattr(point.order_value, point.order_value.WhichOneof("variant"))
    return found
