"""Settings that are secrets may come from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from memq_amqp.address import EXPECTED
from pydantic import SecretStr

from memq_worker.environment import load
from memq_worker.errors import ConfigurationError
from memq_worker.settings import SECRETS, Settings, file_variable, variable

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


def test_flags_win_over_variables_and_variables_over_files(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    assert load().amqp_url.get_secret_value() == URL
    monkeypatch.setenv(variable("amqp_url"), "amqp://varied/")
    assert load().amqp_url.get_secret_value() == "amqp://varied/"
    assert load({"amqp_url": "amqp://flagged/"}).amqp_url.get_secret_value() == "amqp://flagged/"
    file.unlink()
    assert load().amqp_url.get_secret_value() == "amqp://varied/", "a file that is not needed need not be there"
    monkeypatch.setenv(variable("amqp_url"), "")
    with pytest.raises(ConfigurationError, match="MEMQ_AMQP_URL_FILE"):
        load()


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
