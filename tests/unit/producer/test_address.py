from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memq import ConfigurationError, Producer
from memq.connection.address import FILE_VARIABLE, VARIABLE, addresses

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("url", "shown", "vhost"),
    [
        ("amqp://guest:secret@rabbit", "rabbit:5672", "/"),
        ("amqp://guest:secret@rabbit/", "rabbit:5672", "/"),
        ("amqp://guest:secret@rabbit:5000/%2F", "rabbit:5000", "/"),
        ("amqp://guest:secret@rabbit/team%20a", "rabbit:5672/team a", "team a"),
        ("amqps://guest:secret@rabbit/x", "rabbit:5671/x", "x"),
    ],
)
def test_an_address_is_shown_without_user_and_password(url: str, shown: str, vhost: str) -> None:
    (address,) = addresses(url)
    assert str(address) == shown
    assert address.vhost == vhost
    assert "secret" not in repr(address)
    assert address.url.endswith("heartbeat=10")


def test_the_url_may_set_its_own_heartbeat() -> None:
    assert addresses("amqp://h/?heartbeat=3")[0].url == "amqp://h/?heartbeat=3"


def test_several_brokers_stand_in_a_list_or_between_commas() -> None:
    listed = addresses(["amqp://a", "amqp://b"])
    assert addresses("amqp://a,amqp://b") == listed == addresses("amqp://a, amqp://b")
    (one,) = addresses("amqp://user:pass,word@a")
    assert one.host == "a"


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
    monkeypatch.setenv(VARIABLE, "amqp://elsewhere")
    assert str(addresses()[0]) == "elsewhere:5672"


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


@pytest.mark.parametrize(
    "url", ["http://user:secret@h", "rabbit:5672", "amqp://", "amqp://user:secret@h:port/", "amqp://[::1"]
)
def test_an_unusable_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="expected amqp://") as caught:
        Producer(url)
    assert "secret" not in str(caught.value)
