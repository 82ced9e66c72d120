"""An update of a collection, merged into what it was created with."""

from typing import Any

from ..proto import messages
from ..refusal import invalid
from .config import sparse_of, vectors_of

_MERGED = ("hnsw_config", "optimizers_config", "strict_mode_config")
_REPLACED = ("replication_factor", "write_consistency_factor", "on_disk_payload")


def changed(created_with: Any, update: Any) -> Any:
    """Return a CreateCollection that describes the collection after `update`. Raises Refused for an unknown vector."""
    result = messages.CreateCollection()
    result.CopyFrom(created_with)
    for field in _MERGED:
        if update.HasField(field):
            getattr(result, field).MergeFrom(getattr(update, field))
    for field in _REPLACED:
        if update.params.HasField(field):
            setattr(result, field, getattr(update.params, field))
    if update.HasField("quantization_config"):
        _change_quantization(result, update.quantization_config)
    _change_vectors(result, update)
    _change_sparse(result, update)
    for key, value in update.metadata.items():
        if value.WhichOneof("kind") in (None, "null_value"):
            result.metadata.pop(key, None)
        else:
            result.metadata[key].CopyFrom(value)
    return result


def _change_quantization(owner: Any, change: Any) -> None:
    owner.ClearField("quantization_config")
    kind = change.WhichOneof("quantization")
    if kind != "disabled":
        getattr(owner.quantization_config, kind).CopyFrom(getattr(change, kind))


def _change_vectors(result: Any, update: Any) -> None:
    config = update.vectors_config
    kind = config.WhichOneof("config")
    if kind is None:
        return
    known = vectors_of(result)
    changes = {"": config.params} if kind == "params" else dict(config.params_map.map)
    for name, change in changes.items():
        params = known.get(name)
        if params is None:
            raise invalid(f"Wrong input: Not existing vector name error: {name}")
        if change.HasField("hnsw_config"):
            params.hnsw_config.MergeFrom(change.hnsw_config)
        if change.HasField("quantization_config"):
            _change_quantization(params, change.quantization_config)
        if change.HasField("on_disk"):
            params.on_disk = change.on_disk


def _change_sparse(result: Any, update: Any) -> None:
    known = sparse_of(result)
    for name, change in update.sparse_vectors_config.map.items():
        if name not in known:
            raise invalid(f"Wrong input: Not existing vector name error: {name}")
        known[name].MergeFrom(change)
