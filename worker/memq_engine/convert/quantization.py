from collections.abc import Mapping
from typing import Any

import qdrant_edge as edge

from ..proto import messages
from ..refusal import invalid, invalid_field

_RATIOS: Mapping[int, Any] = {
    number: getattr(edge.CompressionRatio, name.upper()) for name, number in messages.CompressionRatio.items()
}
_ENCODINGS: Mapping[int, Any] = {
    number: getattr(edge.BinaryQuantizationEncoding, name)
    for name, number in messages.BinaryQuantizationEncoding.items()
}
_QUERY_ENCODINGS: Mapping[int, Any] = {
    number: getattr(edge.BinaryQuantizationQueryEncoding, name)
    for name, number in messages.BinaryQuantizationQueryEncoding.Setting.items()
}
_BITS: Mapping[int, Any] = {
    number: getattr(edge.TurboQuantBitSize, name) for name, number in messages.TurboQuantBitSize.items()
}
_MEMORY: Mapping[int, Any] = {
    number: getattr(edge.Memory, name) for name, number in messages.Memory.items() if hasattr(edge.Memory, name)
}
# A server of 1.18 knows no others.
_MAX_BITS = 3


def memory_of(config: Any) -> Any:
    """The engine's memory placement of a message; None for a message without one."""
    return _MEMORY.get(config.memory) if config.HasField("memory") else None


def check_quantization(config: Any, path: str) -> None:
    """Raises Refused for a config of no kind, and for values out of range."""
    match config.WhichOneof("quantization"):
        case "scalar":
            _check_scalar(config.scalar, path)
        case "product":
            if config.product.compression not in _RATIOS:
                raise invalid("Unknown compression ratio")
        case "binary":
            if config.binary.encoding not in _ENCODINGS:
                raise invalid("Unknown binary quantization encoding")
        case "turboquant":
            if config.turboquant.bits > _MAX_BITS:
                raise invalid("Unknown turbo quantization bit size")
        case "disabled":
            pass
        case _:
            raise invalid("Unable to convert quantization config")


def _check_scalar(scalar: Any, path: str) -> None:
    if scalar.HasField("quantile") and not 0.5 <= scalar.quantile <= 1:
        problem = f"value {scalar.quantile} invalid, must be from 0.5 to 1.0"
        raise invalid_field(f"{path}.quantization.quantile", problem)
    if scalar.type != messages.QuantizationType.Value("Int8"):
        raise invalid("Unknown quantization type")


def edge_quantization(owner: Any) -> Any:
    """The engine's config for a message's `quantization_config`; None where it has none."""
    if not owner.HasField("quantization_config"):
        return None
    config = owner.quantization_config
    kind = config.WhichOneof("quantization")
    value = getattr(config, kind)
    given: dict[str, Any] = {"always_ram": value.always_ram} if value.HasField("always_ram") else {}
    if value.HasField("memory"):
        given["memory"] = memory_of(value)
    if kind == "scalar":
        if value.HasField("quantile"):
            given["quantile"] = value.quantile
        return edge.ScalarQuantizationConfig(edge.ScalarType.Int8, **given)
    if kind == "product":
        return edge.ProductQuantizationConfig(_RATIOS[value.compression], **given)
    if kind == "turboquant":
        if value.HasField("bits"):
            given["bits"] = _BITS[value.bits]
        return edge.TurboQuantQuantizationConfig(**given)
    if value.HasField("encoding"):
        given["encoding"] = _ENCODINGS[value.encoding]
    if value.HasField("query_encoding"):
        given["query_encoding"] = _QUERY_ENCODINGS[value.query_encoding.setting]
    return edge.BinaryQuantizationConfig(**given)
