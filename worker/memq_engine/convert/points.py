from array import array
from typing import Any

import qdrant_edge as edge

from ..refusal import invalid
from .ids import read_id
from .values import read_payload
from .vectors import VectorContract

UPDATE_MODES = {1: edge.UpdateMode.InsertOnly, 2: edge.UpdateMode.UpdateOnly}


def read_points(points: Any, contract: VectorContract) -> list[edge.Point]:
    """Raises Refused for the first bad point; nothing has been applied then.

    This loop is most of the engine's Python time under load, so its common case makes no call of our own but one.
    """
    head, length, skip = contract.head, contract.length, len(contract.head)
    read: list[edge.Point] = []
    for index, point in enumerate(points):
        encoded = point.vectors
        if len(encoded) == length and encoded.startswith(head):
            vector: Any = array("f")
            vector.frombytes(encoded[skip:])
        elif point.HasField("vectors"):
            vector = contract.read(encoded, index)
        else:
            raise invalid("Expected some vectors")
        point_id = point.id
        identifier: int | str = point_id.uuid or point_id.num or read_id(point_id)
        payload = read_payload(point.payload)
        try:
            read.append(edge.Point(identifier, vector, payload))
        except ValueError:
            # Either an id the engine cannot parse, which read_id names in the server's words, or a NaN in the payload,
            # which read_payload has refused already.
            read_id(point_id)
            raise
    return read
