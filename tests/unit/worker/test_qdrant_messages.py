"""Qdrant's messages come without the rest of qdrant-client, and with it where there is no other way."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import qdrant_client
from qdrant_client import grpc

from memq_qdrant import grpc as messages

if TYPE_CHECKING:
    from collections.abc import Callable

REST = "qdrant_client.http.models"
PACKAGE = Path(qdrant_client.__file__).parent


def imported(code: str, path: Path | None = None) -> list[str]:
    """The modules that a fresh interpreter has after the code, `path` being searched first."""
    first = f"import json, sys; sys.path[:0] = {[str(path)] if path else []!r}\n"
    last = "\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", first + code + last], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_the_worker_imports_no_rest_models():
    found = imported("from memq_worker import check, cli, service, store_commands")
    assert "memq_qdrant.grpc.points_pb2" in found
    assert [name for name in found if name.partition(".")[0] == "qdrant_client"] == []


def test_the_engine_imports_no_rest_models():
    pytest.importorskip("qdrant_edge")
    found = imported("import memq_engine.process")
    assert "memq_qdrant.grpc.points_pb2" in found
    assert [name for name in found if name.partition(".")[0] == "qdrant_client"] == []


def test_the_process_that_starts_others_imports_no_store_pipeline_or_bodies():
    found = imported("import memq_worker.cli, memq_worker.pool")
    assert not {
        "memq_qdrant",
        "memq_worker.service",
        "memq_worker.pipeline.decode",
        "memq_schemas.queries",
    }.intersection(found)


def test_a_formula_imports_the_rest_models():
    code = """
from memq_schemas.searches import Formula
from memq_worker.qdrant.searches import query_of
query_of(Formula.model_validate({"formula": "$score"}))
"""
    assert REST in imported(code)


def test_messages_are_those_of_the_client():
    assert messages.PointStruct is grpc.PointStruct
    assert messages.PointStruct(id=messages.PointId(num=1)) == grpc.PointStruct(id=grpc.PointId(num=1))


def _another_layout(client: Path) -> None:
    (client / "grpc").rename(client / "protos")
    (client / "grpc.py").write_text("from qdrant_client.protos import *\n")


def _an_import_beyond_the_package(client: Path) -> None:
    first = client / "grpc" / "__init__.py"
    first.write_text(f"from ..http import models\n{first.read_text()}")


@pytest.mark.parametrize("change", [_another_layout, _an_import_beyond_the_package])
def test_a_client_of_another_make_is_imported_as_a_whole(tmp_path: Path, change: Callable[[Path], None]):
    shutil.copytree(PACKAGE, tmp_path / "qdrant_client", ignore=shutil.ignore_patterns("__pycache__"))
    change(tmp_path / "qdrant_client")
    code = "from memq_qdrant import grpc; assert grpc.PointStruct(id=grpc.PointId(num=1)).id.num == 1; grpc.PointsStub"
    assert REST in imported(code, tmp_path)


def test_without_the_client_the_error_names_it():
    code = """
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "qdrant_client":
            raise ModuleNotFoundError("none", name=name)
sys.meta_path.insert(0, Without())
try:
    import memq_qdrant
except ModuleNotFoundError as error:
    assert error.name.startswith("qdrant_client"), error.name
else:
    raise AssertionError
"""
    imported(code)
