"""Qdrant's protobuf messages, and one of our own for reading the same bytes faster.

The generated stubs import each other by bare file name, so no type checker can follow them: the classes enter
the package here, once, as Any.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from memq_qdrant import grpc

messages: Any = grpc

_FIELD: Any = descriptor_pb2.FieldDescriptorProto


def _field(owner: Any, number: int, name: str, kind: int, message: str = "", *, optional: bool = False) -> None:
    field = owner.field.add(number=number, name=name, type=kind, label=_FIELD.LABEL_OPTIONAL, type_name=message or None)
    if optional:
        owner.oneof_decl.add(name=f"_{name}")
        field.proto3_optional = True
        field.oneof_index = len(owner.oneof_decl) - 1


def _upsert_view() -> Any:
    """UpsertPoints with every point's `vectors` left as bytes, which protobuf defines as the same wire format.

    A dense vector is then a slice of the request, not 384 Python floats on the way to 384 Rust floats.
    """
    source: Any = messages.UpsertPoints.DESCRIPTOR.file
    file: Any = descriptor_pb2.FileDescriptorProto(
        name="memq/embedded/upsert_view.proto",
        package="memq.embedded",
        syntax="proto3",
        dependency=[source.name, *(each.name for each in source.dependencies)],
    )
    point = file.message_type.add(name="PointView")
    _field(point, 1, "id", _FIELD.TYPE_MESSAGE, ".qdrant.PointId")
    _field(point, 4, "vectors", _FIELD.TYPE_BYTES, optional=True)
    entry = point.nested_type.add(name="PayloadEntry")
    entry.options.map_entry = True
    _field(entry, 1, "key", _FIELD.TYPE_STRING)
    _field(entry, 2, "value", _FIELD.TYPE_MESSAGE, ".qdrant.Value")
    _field(point, 3, "payload", _FIELD.TYPE_MESSAGE, ".memq.embedded.PointView.PayloadEntry")
    point.field[-1].label = _FIELD.LABEL_REPEATED
    view = file.message_type.add(name="UpsertView")
    _field(view, 1, "collection_name", _FIELD.TYPE_STRING)
    _field(view, 2, "wait", _FIELD.TYPE_BOOL)
    _field(view, 3, "points", _FIELD.TYPE_MESSAGE, ".memq.embedded.PointView")
    view.field[-1].label = _FIELD.LABEL_REPEATED
    _field(view, 4, "ordering", _FIELD.TYPE_MESSAGE, ".qdrant.WriteOrdering")
    _field(view, 5, "shard_key_selector", _FIELD.TYPE_MESSAGE, ".qdrant.ShardKeySelector")
    _field(view, 6, "update_filter", _FIELD.TYPE_MESSAGE, ".qdrant.Filter")
    _field(view, 8, "update_mode", _FIELD.TYPE_INT32)
    pool: Any = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("memq.embedded.UpsertView"))


UpsertView: Any = _upsert_view()
