"""Qdrant's protobuf messages and gRPC stubs: `from memq_qdrant import grpc`, without the rest of qdrant-client."""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

__all__ = ["grpc"]

_NAME = f"{__name__}.grpc"
# What a qdrant-client that is laid out, or imports its parts, in another way may raise.
_UNEXPECTED = (AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def _load() -> Any:
    """qdrant_client.grpc without qdrant_client, whose REST models and clients are half a second of CPU at every start.

    Message classes belong to protobuf's descriptor pool: a process that imports both has the same ones twice.
    """
    try:
        return _alone(find_spec("qdrant_client"))
    except _UNEXPECTED:
        for name in [each for each in sys.modules if each == _NAME or each.startswith(f"{_NAME}.")]:
            del sys.modules[name]
        return import_module("qdrant_client.grpc")


def _alone(client: ModuleSpec | None) -> Any:
    """Run the package qdrant_client.grpc under a name of ours: its parent package is then not imported."""
    if client is None or client.origin is None:
        raise ModuleNotFoundError("no package qdrant_client")
    folder = Path(client.origin).parent / "grpc"
    spec = spec_from_file_location(_NAME, folder / "__init__.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("no package qdrant_client.grpc")
    module = sys.modules[_NAME] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    from qdrant_client import grpc
else:
    grpc = _load()
