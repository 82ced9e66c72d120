from __future__ import annotations

from typing import TYPE_CHECKING, cast

from stack import watched
from stack.prometheus import NoPrometheus
from stack.screen import Screen

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from stack.running import Stack


async def test_without_prometheus_the_stack_runs_on_and_says_how_to_have_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*, install: bool) -> None:
        assert not install, "nobody asked for a program to be installed"
        raise NoPrometheus("no Prometheus: not on this machine. Run\n    sudo apt-get install prometheus")

    monkeypatch.setattr(watched, "found", missing)
    async with watched.watched(cast("Stack", None), tmp_path, Screen("serve")) as server:
        assert server is None
    told = " ".join(capsys.readouterr().out.split())
    assert "without Prometheus: not on this machine. Run sudo apt-get install prometheus" in told
