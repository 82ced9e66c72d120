from typing import Any

from memq_qdrant import grpc
from memq_schemas import OrderBy


def order_by(order: OrderBy) -> Any:
    direction = grpc.Direction.Desc if order.direction == "desc" else grpc.Direction.Asc
    return grpc.OrderBy(key=order.key, direction=direction, start_from=_start(order.start_from))


def _start(value: int | float | str | None) -> Any:
    if value is None:
        return None
    if isinstance(value, str):
        return grpc.StartFrom(datetime=value)
    return grpc.StartFrom(integer=value) if isinstance(value, int) else grpc.StartFrom(float=value)
