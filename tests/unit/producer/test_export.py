"""Files of `memq scroll`: what they hold, interruptions, and that `memq upsert` reads the same points from them."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
import typer

from memq_cli.export import Export, Selection
from memq_cli.sources import ColumnNames, open_source
from memq_schemas import CollectionDescription, OrderedRecord
from memq_schemas.vectors import to_base64

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KINDS = (".jsonl", ".parquet", ".arrow")
SELECTION = Selection("docs", None, True, True)
DENSE = CollectionDescription.model_validate(
    {"name": "docs", "status": "green", "points": 9, "vectors": {"": {"size": 2}}}, strict=False
)


def records(count: int) -> list[OrderedRecord]:
    return [
        OrderedRecord(
            id=number,
            payload={"n": number} if number % 2 else None,
            vector=to_base64([number, 1]),
            version=number if number % 3 else None,
        )
        for number in range(count)
    ]


def write(path: Path, pages: Sequence[tuple[list[OrderedRecord], int | None]]) -> None:
    """Pages with the offset of the next one, in one run of the command."""
    export = Export(path, SELECTION, restart=False)
    export.begin(DENSE)
    for points, following in pages:
        export.write(points, following)
    export.close()


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_export_becomes_the_same_file(tmp_path: Path, kind: str) -> None:
    found = records(9)
    pages = [(found[:4], 4), (found[4:8], 8), (found[8:], None)]
    write(tmp_path / f"whole{kind}", pages)
    # Names of files are bytes; these are not UTF-8.
    path = tmp_path / f"docs\udce9{kind}"
    write(path, pages[:1])
    for page in pages[1:]:
        # Bytes of a page whose offset was never noted.
        with path.with_name(f"{path.name}.part").open("ab") as part:
            part.write(b"torn")
        again = Export(path, SELECTION, restart=False)
        assert (again.resumed, again.offset) == (True, page[0][0].id)
        assert not path.exists()
        write(path, [page])
    assert path.read_bytes() == (tmp_path / f"whole{kind}").read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([path.name, f"whole{kind}"])


@pytest.mark.parametrize("kind", KINDS)
def test_no_points_make_a_file_without_points(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"docs{kind}"
    write(path, [([], None)])
    if kind != ".jsonl":
        assert open_source(str(path), ColumnNames()).total == 0


def test_another_selection_does_not_continue_it(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    write(path, [(records(2), 2)])
    with pytest.raises(typer.BadParameter, match="--restart"):
        Export(path, Selection("other", None, True, True), restart=False)
    assert not Export(path, Selection("other", None, True, True), restart=True).resumed
    path.with_name("docs.jsonl.next").write_bytes(b"{}")
    with pytest.raises(typer.BadParameter, match="--restart"):
        Export(path, SELECTION, restart=False)


KINDS_OF_VECTORS = CollectionDescription.model_validate(
    {
        "name": "docs",
        "status": "green",
        "points": 9,
        "vectors": {"text": {"size": 2}, "rows": {"size": 3, "multivector_config": {}}},
        "sparse_vectors": {"words": {}},
    },
    strict=False,
)


def indices(*values: int) -> str:
    return to_base64(np.array(values, "<u4").view("<f4"))


ALL_KINDS: list[dict[str, Any]] = [
    {
        "text": [1.0, 2.0],
        "rows": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
        "words": {"indices": [1, 7], "values": [0.5, 1.0]},
    },
    {"text": [3.0, 4.0]},
    {"words": {"indices": [2**32 - 1], "values": [1.0]}},
    {"rows": [[7.0, 8.0, 9.0]]},
]


def as_base64(vector: Any) -> Any:
    if isinstance(vector, dict):
        return {"indices": indices(*vector["indices"]), "values": to_base64(vector["values"])}
    return [to_base64(row) for row in vector] if isinstance(vector[0], list) else to_base64(vector)


@pytest.mark.parametrize("kind", [".parquet", ".arrow"])
def test_columns_hold_vectors_of_all_kinds(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"docs{kind}"
    export = Export(path, SELECTION, restart=False)
    export.begin(KINDS_OF_VECTORS)
    points = [
        OrderedRecord(id=number, payload={"n": number}, vector={name: as_base64(each) for name, each in vector.items()})
        for number, vector in enumerate(ALL_KINDS, 1)
    ]
    with closing(export):
        export.write(points[:2], 3)
        export.write(points[2:], None)
    table = read(path)
    for number, vector in enumerate(ALL_KINDS):
        row = table[number]
        assert (row["id"], orjson.loads(row["payload"]), row["version"]) == (number + 1, {"n": number + 1}, None)
        assert {name: row[f"vector.{name}"] for name in ("text", "rows", "words")} == {
            "text": None,
            "rows": None,
            "words": None,
            **vector,
        }


def read(path: Path) -> list[dict[str, Any]]:
    import pyarrow.ipc
    import pyarrow.parquet

    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    with pyarrow.ipc.open_file(path) as file:
        return file.read_all().to_pylist()


@pytest.mark.parametrize("kind", [".parquet", ".arrow"])
def test_ids_of_both_types_need_json_lines(tmp_path: Path, kind: str) -> None:
    export = Export(tmp_path / f"docs{kind}", SELECTION, restart=False)
    export.begin(DENSE)
    mixed = OrderedRecord(id="00000000-0000-0000-0000-000000000001", vector=to_base64([1, 2]))
    with pytest.raises(typer.BadParameter, match="jsonl"):
        export.write([*records(2), mixed], None)
    export.close()
