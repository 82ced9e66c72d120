from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memq.connection.address import addresses
from memq.deliver.writes import Contiguous
from memq_cli import checkpoint
from memq_cli.checkpoint import Checkpoint, Identity
from memq_cli.sources import BadFile, ColumnNames

if TYPE_CHECKING:
    from pathlib import Path


@given(
    st.lists(st.integers(1, 4), max_size=12).flatmap(
        lambda sizes: st.tuples(st.just(sizes), st.permutations(range(len(sizes))))
    )
)
def test_what_is_done_without_a_gap_is_known_whatever_the_order(drawn: tuple[list[int], list[int]]) -> None:
    sizes, order = drawn
    ranges = [range(sum(sizes[:at]), sum(sizes[: at + 1])) for at in range(len(sizes))]
    contiguous = Contiguous()
    contiguous.add(range(0))
    done: set[int] = set()
    for at in order:
        contiguous.add(ranges[at])
        done.update(ranges[at])
        assert contiguous.end == next(point for point in range(sum(sizes) + 1) if point not in done)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "points.jsonl").write_text("{}\n")
    return tmp_path / "points.jsonl"


def identity(file: Path, **other: Any) -> Identity:
    url, columns = other.pop("url", "amqp://user:secret@one:5672/v"), other.pop("columns", ColumnNames())
    return Identity.of(file, None, other.pop("collection", "docs"), addresses(url), "memq", columns)


def test_a_checkpoint_is_found_again_and_ends_with_the_upload(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "WRITE_SECONDS", 1e9)
    kept = Checkpoint(tmp_path / "deep" / "kept", identity(file), required=True)
    kept.note(0)
    kept.write()
    assert not (tmp_path / "deep").exists()
    kept.note(300)
    assert b"secret" not in (tmp_path / "deep" / "kept").read_bytes()
    kept.note(500)
    again = Checkpoint(tmp_path / "deep" / "kept", identity(file), required=True)
    again.read()
    assert again.rows == 300, "two writes too soon after each other"
    kept.write()
    again.read()
    assert again.rows == again.sent_before == 500
    assert os.listdir(tmp_path / "deep") == ["kept"]
    again.remove()
    assert os.listdir(tmp_path / "deep") == []


def test_a_name_that_is_not_utf8_keeps_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("caf\udce9.jsonl", "caf\udce8.jsonl"):
        file = tmp_path / name
        file.write_text("{}\n")
        mine = identity(file, columns=ColumnNames(key=("k\u00e9",)))
        kept = Checkpoint(mine.default_path, mine, required=True)
        kept.note(300)
        assert os.fsencode(name) in mine.default_path.read_bytes()
        again = Checkpoint(mine.default_path, mine, required=True)
        again.read()
        assert again.rows == 300
    assert len(list((tmp_path / "state" / "memq" / "uploads").iterdir())) == 2


def test_what_has_changed_since_is_said(file: Path, tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "kept", identity(file), required=True)
    kept.note(300)
    for other, told in (
        (identity(file, collection="notes"), "belongs to another upload"),
        (identity(file, url="amqp://user:secret@two:5672/v"), "belongs to another upload"),
        (identity(file, columns=ColumnNames(start=5)), "other columns: start was None, now it is 5"),
    ):
        with pytest.raises(BadFile, match=told):
            Checkpoint(tmp_path / "kept", other, required=True).read()
    assert identity(file, collection="notes").default_path != identity(file).default_path
    with pytest.raises(BadFile, match="no checkpoint of memq upsert"):
        Checkpoint(file, identity(file), required=True).read(restart=True)
    file.write_text("{} \n")
    with pytest.raises(BadFile, match=r"an earlier version of .*; --restart sends all"):
        Checkpoint(tmp_path / "kept", identity(file), required=True).read()
    again = Checkpoint(tmp_path / "kept", identity(file), required=True)
    again.read(restart=True)
    assert again.rows == 0
    assert not (tmp_path / "kept").exists(), "a restart that is interrupted at once would go on from there"


def test_without_a_place_to_write_an_upload_goes_on_unless_the_place_was_asked_for(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Checkpoint(file / "kept", identity(file), required=False)
    kept.read()
    kept.note(300)
    kept.write()
    assert kept.sent_before == 0
    assert capsys.readouterr().err.count("an interrupted run will start from the beginning") == 1
    with pytest.raises(BadFile, match="Not a directory"):
        Checkpoint(file / "kept", identity(file), required=True).read()
    (tmp_path / "torn").write_bytes(b'{"form')
    torn = Checkpoint(tmp_path / "torn", identity(file), required=True)
    torn.read()
    assert torn.rows == 0
    assert "is damaged, sending all points" in capsys.readouterr().err
    (tmp_path / "other").write_bytes(b"[]")
    with pytest.raises(BadFile, match="no checkpoint of memq upsert"):
        Checkpoint(tmp_path / "other", identity(file), required=True).read()
