from __future__ import annotations

import memq_amqp
import pytest

from memq import ConfigurationError, Producer
from memq.connection.transport import transport


def test_what_is_given_wins_over_the_variable_and_without_either_it_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    assert transport() == "fast"
    monkeypatch.setenv("MEMQ_TRANSPORT", "stock")
    assert transport() == "stock"
    assert transport("fast") == "fast"


def test_an_unknown_word_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="transport: expected fast or stock, this is 'quick'"):
        Producer(transport="quick")  # pyright: ignore[reportArgumentType]
    monkeypatch.setenv("MEMQ_TRANSPORT", "slow")
    with pytest.raises(ConfigurationError, match="MEMQ_TRANSPORT: expected fast or stock, this is 'slow'"):
        Producer()


def test_an_aiormq_that_is_not_known_is_left_alone_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memq_amqp, "unusable", lambda: "aiormq 8.0 is not one of 7.2.x")
    assert transport("fast") == "stock"
    (record,) = caplog.records
    assert (record.message, record.__dict__["reason"]) == (
        "falling back to aiormq's frame codec",
        "aiormq 8.0 is not one of 7.2.x",
    )
