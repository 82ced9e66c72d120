"""Options that an older Qdrant would ignore are refused with the version that has them."""

from __future__ import annotations

from typing import Any

import pytest

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError
from memq_worker.qdrant.minimum_version import minimum_version


@pytest.mark.parametrize(
    ("fields", "path", "version"),
    [
        ({"hnsw_config": {"memory": "cold"}}, "hnsw_config.memory", "1.19"),
        ({"vectors": {"a": {"size": 2, "datatype": "turbo8", "memory": "cold"}}}, "vectors.a.datatype", "1.20"),
        ({"quantization_config": {"turbo": {"bits": "bits8"}}}, "quantization_config.turbo.bits", "1.20"),
        ({"quantization_config": {"turbo": {}}}, "quantization_config.turbo", "1.18"),
    ],
)
def test_a_newer_option_names_itself_and_the_version(fields: dict[str, Any], path: str, version: str) -> None:
    needed = minimum_version(fields)
    assert needed is not None
    for server in (f"{version}.0", "1.99.0", "2.0.1", "0.9.0", "unknown"):
        needed.check(server)
    with pytest.raises(MessageError) as refused:
        needed.check("1.17.9")
    assert refused.value.code is ErrorCode.UNSUPPORTED_BY_STORE
    assert refused.value.answer.startswith(f"{path}: Qdrant {version}")
    assert "1.17.9" in refused.value.answer


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"size": 2, "hnsw_config": {"m": 3}},
        {"vectors": {"a": {"datatype": "float16"}}},
        {"metadata": {"memory": 1}},
    ],
)
def test_older_options_need_no_version(fields: dict[str, Any]) -> None:
    assert minimum_version(fields) is None
