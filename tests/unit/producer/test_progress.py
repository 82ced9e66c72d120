from __future__ import annotations

from typing import TYPE_CHECKING

from memq.answers import Receipt
from memq_cli import bar
from memq_cli.progress import UploadProgress
from memq_cli.sources import ColumnNames, open_source

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_without_a_terminal_a_line_tells_how_far_it_is_and_how_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    monkeypatch.setattr(bar, "LINE_SECONDS", 0)
    monkeypatch.setattr(UploadProgress, "seconds", 4.0)
    np.save(tmp_path / "a.npy", np.ones((1_000_000, 1), np.float16))
    noted: list[int] = []
    with UploadProgress(open_source(str(tmp_path / "a.npy"), ColumnNames()), 100_000, False, noted.append) as told:
        told(Receipt(400, 4, complete=300))
        told(Receipt(8000, 80, complete=8000))
    assert capsys.readouterr().err.splitlines() == [
        "memq: 100,400 of 1,000,000 points confirmed, 100 per second, 2:29:56 left",
        "memq: 108,000 of 1,000,000 points confirmed, 2,000 per second, 7:26 left",
    ]
    assert noted == [100_300, 108_000]
