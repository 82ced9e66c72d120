from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memq import ConfigurationError
from memq.connection.address import FILE_VARIABLE, VARIABLE, addresses

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_url_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(addresses()[0]) == "127.0.0.1:5672"
    monkeypatch.setenv(VARIABLE, "amqp://elsewhere")
    assert str(addresses()[0]) == "elsewhere:5672"


def test_without_a_variable_a_file_may_have_the_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "amqp_url"
    file.write_text("amqp://user:secret@filed\n")
    monkeypatch.setenv(FILE_VARIABLE, str(file))
    assert str(addresses()[0]) == "filed:5672"
    assert str(addresses("amqp://given")[0]) == "given:5672"


def test_a_variable_beside_its_file_is_refused_and_an_argument_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "amqp_url"
    file.write_text("amqp://user:secret@filed\n")
    monkeypatch.setenv(FILE_VARIABLE, str(file))
    monkeypatch.setenv(VARIABLE, "amqp://elsewhere")
    for url in (None, "", "amqp://elsewhere"):  # the last is what the command hands on
        with pytest.raises(ConfigurationError, match=f"{FILE_VARIABLE}: {VARIABLE} "):
            addresses(url)
    assert str(addresses("amqp://given")[0]) == "given:5672"


@pytest.mark.parametrize(("content", "told"), [(None, "No such file"), (b"\xff", "not UTF-8"), (b" \n", "empty")])
def test_a_file_without_a_url_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "amqp_url"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(FILE_VARIABLE, str(file))
    with pytest.raises(ConfigurationError, match=f"{FILE_VARIABLE}: .*{told}"):
        addresses()
