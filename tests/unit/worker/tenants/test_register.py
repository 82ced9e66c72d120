"""The tenants file while a worker runs: a good one replaces the former, any other leaves it in force."""

import os
from itertools import count
from pathlib import Path

import pytest

from memq_worker.errors import ConfigurationError
from memq_worker.tenants.register import Register

ONE = "generation = 1\n[tenants.acme]\n[tenants.beta]\n"
TWO = "generation = 2\n[tenants.acme]\n[tenants.gamma]\n"
_seconds = count(1_000_000_000)


def write(path: Path, text: str) -> None:
    path.write_text(text)
    when = next(_seconds)  # two writes within the clock's resolution differ all the same
    os.utime(path, (when, when))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "tenants.toml", ONE)
    return tmp_path / "tenants.toml"


def test_without_a_file_there_are_no_tenants() -> None:
    register = Register(None)
    assert (register.current, register.generation, register.get("acme"), register.look()) == (None, 0, None, False)


def test_a_bad_file_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.toml"):
        Register(tmp_path / "absent.toml")


def test_a_good_file_replaces_the_former(path: Path) -> None:
    register = Register(path)
    assert not register.look()
    write(path, TWO)
    assert register.look()
    assert (register.generation, register.get("beta"), register.problem) == (2, None, "")
    assert register.get("gamma") is not None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TWO[:20], id="cut inside a table"),
        pytest.param(ONE[: ONE.index("[tenants.beta]")], id="cut between tables"),
        pytest.param(TWO.replace("generation = 2", "generation = 1"), id="generation not raised"),
        pytest.param("", id="empty"),
        pytest.param("generation = 3\n[tenants.acme]\nfoo = 1\n", id="unknown field"),
    ],
)
def test_any_other_file_leaves_the_former_in_force(path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    register = Register(path)
    write(path, text)
    assert not register.look()
    assert register.problem
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert not register.look(), "read once"
    assert len(caplog.records) == 1
    assert (register.generation, register.get("beta") is not None) == (1, True)
    write(path, TWO)
    assert register.look()
    assert (register.generation, register.problem) == (2, "")


def test_a_file_that_is_gone_leaves_the_former_in_force(path: Path) -> None:
    register = Register(path)
    path.unlink()
    assert not register.look()
    assert register.problem
    assert register.get("beta") is not None


def test_a_comment_needs_no_new_generation(path: Path) -> None:
    register = Register(path)
    write(path, "# a comment\n" + ONE)
    assert not register.look()
    assert register.problem == ""
