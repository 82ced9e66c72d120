"""Settings that are secrets may come from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from memq_amqp.address import EXPECTED
from pydantic import SecretStr

from memq_worker.environment import load
from memq_worker.errors import ConfigurationError
from memq_worker.pool import _environment  # pyright: ignore[reportPrivateUsage]
from memq_worker.settings import SECRETS, Settings, file_variable, flag, variable

if TYPE_CHECKING:
    from pathlib import Path

URL = "amqp://user:s3cret@filed:5672/"


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    place = tmp_path / "amqp_url"
    place.write_text(f"{URL}\n")
    monkeypatch.setenv("MEMQ_AMQP_URL_FILE", str(place))
    return place


def test_every_secret_and_nothing_else_may_come_from_a_file() -> None:
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert secret == set(SECRETS)
    assert [file_variable(name) for name in SECRETS] == [f"MEMQ_{name.upper()}_FILE" for name in SECRETS]


@pytest.mark.parametrize("name", SECRETS)
def test_a_file_gives_the_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(f"  {URL}\n")
    monkeypatch.setenv(file_variable(name), str(tmp_path / name))
    value = getattr(load(), name)
    assert isinstance(value, SecretStr)
    assert value.get_secret_value() == URL


@pytest.mark.parametrize("name", SECRETS)
def test_a_variable_beside_its_file_is_refused_and_a_flag_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text(URL)
    monkeypatch.setenv(file_variable(name), str(tmp_path / name))
    monkeypatch.setenv(variable(name), "amqp://varied/")
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert file_variable(name) in str(caught.value)
    assert f"{variable(name)} is" in str(caught.value)
    assert getattr(load({name: "amqp://flagged/"}), name).get_secret_value() == "amqp://flagged/"
    monkeypatch.setenv(variable(name), "")
    assert getattr(load(), name).get_secret_value() == URL, "an empty variable is one that is not set"


def test_a_child_of_a_pool_is_given_the_flag_and_not_the_file(file: Path) -> None:
    child = _environment({"amqp_url": "amqp://flagged/"})
    assert child["MEMQ_AMQP_URL"] == "amqp://flagged/"
    assert "MEMQ_AMQP_URL_FILE" not in child
    assert _environment({})["MEMQ_AMQP_URL_FILE"] == str(file)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "MEMQ_AMQP_URL_FILE: the file cannot be read: No such file or directory"),
        (b"\xff\xfe", "MEMQ_AMQP_URL_FILE: the file cannot be read: not UTF-8"),
        (b"\n", "MEMQ_AMQP_URL_FILE: the file is empty"),
        (b"http://s3cret", f"MEMQ_AMQP_URL_FILE: scheme: not amqp or amqps; {EXPECTED}"),
    ],
)
def test_a_bad_file_is_named_and_not_quoted(file: Path, content: bytes | None, told: str) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert str(caught.value) == told


@pytest.mark.parametrize("name", ["tenants_file", "qdrant_cafile", "qdrant_certfile", "qdrant_keyfile"])
def test_a_path_without_a_file_is_refused_by_variable_or_flag(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    for path in (tmp_path / "gone", tmp_path):
        monkeypatch.setenv(variable(name), str(path))
        with pytest.raises(ConfigurationError, match=f"^{variable(name)}: .*cannot be read"):
            load()
        with pytest.raises(ConfigurationError, match=f"^{flag(name)}: .*cannot be read"):
            load({name: str(path)})
