"""Validation of the options of create and update, with a server's error texts, before any change."""

from typing import Any

from ..proto import messages
from ..refusal import invalid, invalid_field, unserved
from .config import DATATYPES, DISTANCES, sparse_of, vectors_of
from .quantization import check_quantization

_MAX_NAME = 255
_MAX_SIZE = 65536
_FORBIDDEN = ("<", ">", ":", '"', "/", "\\", "|", "?", "*", "\0", "\x1f")
# Field, smallest and largest value.
_RANGES: dict[str, tuple[tuple[str, float, float | None], ...]] = {
    "hnsw_config": (("ef_construct", 4, None),),
    "optimizers_config": (("deleted_threshold", 0.0, 1.0), ("vacuum_min_vector_number", 100, None)),
    "wal_config": (("wal_capacity_mb", 1, None),),
}
# Datatypes that a server has and this engine's collections have not, by the version that has them first.
_TURBO = {4: "1.19", 5: "1.20", 6: "1.20"}
_AT_LEAST_ONE = ("shard_number", "replication_factor", "write_consistency_factor")


def check_name(name: str) -> None:
    """Check the length rule, which every request obeys; odd characters are refused for creation alone."""
    if not 1 <= len(name) <= _MAX_NAME:
        raise invalid_field("collection_name", f'value "{name}" invalid, must be from 1 to 255 characters')


def check_creation(request: Any) -> None:
    """Raises Refused for what a server would refuse, and for what this engine could not keep to."""
    check_name(request.collection_name)
    bad = next((char for char in _FORBIDDEN if char in request.collection_name), None)
    if bad is not None:
        raise invalid_field("collection_name", f'collection name cannot contain "{bad}" char')
    _check_ranges(request)
    _check_vectors(request)
    if request.HasField("quantization_config"):
        check_quantization(request.quantization_config, "quantization_config")
    if request.HasField("sharding_method") and request.sharding_method != 0:
        if request.sharding_method not in messages.ShardingMethod.values():
            number = request.sharding_method
            raise invalid(f"Cannot convert ShardingMethod: {number}, error: unknown enumeration value {number}")
        raise unserved("sharding_method: custom", "1.7")
    _check_strict(request)
    check_storage(request)


def check_storage(request: Any) -> None:
    """Raises Refused for options of how a server keeps its data that this engine would not keep to."""
    for owner in (request, *vectors_of(request).values()):
        if owner.HasField("hnsw_config") and owner.hnsw_config.inline_storage:
            raise unserved("hnsw_config.inline_storage", "1.16")
    if request.optimizers_config.prevent_unoptimized:
        raise unserved("optimizers_config.prevent_unoptimized", "1.17")
    for field in ("payload", "id_tracker"):
        if request.HasField(field):
            raise unserved(field, "1.19" if field == "payload" else "1.20")


def _check_strict(request: Any) -> None:
    if request.strict_mode_config.enabled:
        raise unserved("strict_mode_config.enabled", "1.13")


def _check_ranges(request: Any) -> None:
    for field in _AT_LEAST_ONE:
        if request.HasField(field) and getattr(request, field) == 0:
            raise invalid_field(field, "value 0 invalid, must be 1 or larger")
    for section, rules in _RANGES.items():
        if section in request.DESCRIPTOR.fields_by_name and request.HasField(section):
            _check_section(getattr(request, section), section, rules)
    strict = request.strict_mode_config
    for field in ("max_query_limit", "max_timeout"):
        if strict.HasField(field) and getattr(strict, field) == 0:
            raise invalid_field(f"strict_mode_config.{field}", "value 0 invalid, must be 1 or larger")


def _check_section(config: Any, section: str, rules: tuple[tuple[str, float, float | None], ...]) -> None:
    for field, least, most in rules:
        if not config.HasField(field):
            continue
        value = getattr(config, field)
        if value < least or (most is not None and value > most):
            bounds = f"{least} or larger" if most is None else f"from {least} to {most}"
            raise invalid_field(f"{section}.{field}", f"value {value} invalid, must be {bounds}")


def _check_vectors(request: Any) -> None:
    for name, params in vectors_of(request).items():
        _check_vector(name, params)
    for name in sparse_of(request):
        if not name:
            raise invalid("Wrong input: Sparse vector name cannot be empty")
        _check_vector_name("sparse", name)
        if name in vectors_of(request):
            raise invalid(f"Wrong input: Dense and sparse vector names must be unique - duplicate found with '{name}'")


def _check_vector_name(kind: str, name: str) -> None:
    if "/" in name:
        raise invalid(f'Wrong input: Invalid {kind} vector name `{name}`: vector name cannot contain "/" char')


def _check_vector(name: str, params: Any) -> None:
    if not 1 <= params.size <= _MAX_SIZE:
        raise invalid_field("vectors_config.config.size", f"value {params.size} invalid, must be from 1 to {_MAX_SIZE}")
    if params.distance not in DISTANCES:
        raise invalid("Malformed distance parameter: UnknownDistance")
    if params.HasField("multivector_config") and params.multivector_config.comparator != 0:
        raise invalid("Unknown multi vector comparator")
    if params.HasField("quantization_config"):
        check_quantization(params.quantization_config, "vectors_config.config.quantization_config")
    if params.datatype and params.datatype not in DATATYPES:
        known = params.datatype in messages.Datatype.values()
        raise (
            unserved(f"datatype {messages.Datatype.Name(params.datatype).lower()}", _TURBO[int(params.datatype)])
            if known
            else invalid(f"Unknown datatype {params.datatype}")
        )
    _check_vector_name("dense", name)


def check_update(request: Any) -> None:
    check_name(request.collection_name)
    if request.HasField("timeout") and request.timeout == 0:
        raise invalid_field("timeout", "value 0 invalid, must be 1 or larger")
    for field in ("replication_factor", "write_consistency_factor"):
        if request.params.HasField(field) and getattr(request.params, field) == 0:
            raise invalid_field(f"params.{field}", "value 0 invalid, must be 1 or larger")
    for section, rules in _RANGES.items():
        if section in request.DESCRIPTOR.fields_by_name and request.HasField(section):
            _check_section(getattr(request, section), section, rules)
    if request.HasField("quantization_config"):
        check_quantization(request.quantization_config, "quantization_config")
    _check_strict(request)
