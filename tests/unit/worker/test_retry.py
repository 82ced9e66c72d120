from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memq_schemas import ErrorCode
from memq_schemas.topology import RETRY_SECONDS
from memq_worker.errors import DependencyError, MessageError
from memq_worker.pipeline.outcome import DeadLetter, Retry, RetryPolicy, decide


@given(most=st.integers(1, 50))
def test_exactly_so_many_attempts_are_made_each_in_a_tier_that_exists(most: int) -> None:
    policy = RetryPolicy(most)
    waits = []
    attempt = 1
    while (seconds := policy.next_seconds(attempt)) is not None:
        waits.append(seconds)
        attempt += 1
    assert attempt == most
    assert set(waits) <= set(RETRY_SECONDS)
    assert waits == sorted(waits), "later attempts never wait less"


@given(attempt=st.integers(-5, 1000), most=st.integers(1, 100))
def test_a_forged_count_never_crashes_and_never_retries_for_ever(attempt: int, most: int) -> None:
    seconds = RetryPolicy(most).next_seconds(attempt)
    assert (seconds is None) == (attempt >= most)


def test_the_message_is_at_fault_once_the_dependency_until_attempts_run_out() -> None:
    policy = RetryPolicy(3)
    bad = MessageError(ErrorCode.INVALID, "x")
    assert decide(bad, 1, policy) == DeadLetter(bad)
    flaky = DependencyError(ErrorCode.STORE_ERROR, "x")
    assert decide(flaky, 1, policy) == Retry(1, flaky)
    assert decide(flaky, 2, policy) == Retry(5, flaky)
    assert decide(flaky, 3, policy) == DeadLetter(flaky)


def test_an_error_nobody_foresaw_is_retried_under_its_own_code() -> None:
    outcome = decide(KeyError("secret"), 1, RetryPolicy(3))
    assert isinstance(outcome, Retry)
    assert outcome.error.code is ErrorCode.UNEXPECTED
    assert "secret" not in outcome.error.message
