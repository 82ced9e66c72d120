"""897 recorded questions to Qdrant, asked again of the embedded engine and of a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.recorded import ask, comparable, differences, drop, parts, questions

if TYPE_CHECKING:
    from tests.contract.store import Store

# Asked of a server that has keys; the errors it answers with are covered by the table of the worker's adapter.
KEYED = "access"
ANSWERED = {"OK", "INVALID_ARGUMENT", "UNIMPLEMENTED", "NOT_FOUND", "ALREADY_EXISTS", "OUT_OF_RANGE"}


def test_every_recorded_question_is_here_once() -> None:
    names = [question.full_name for part in parts() for question in questions(part)]
    assert len(names) == len(set(names)) == 897


def test_every_difference_is_of_a_question() -> None:
    assert set(differences()) <= {question.full_name for part in parts() for question in questions(part)}


@pytest.mark.parametrize("part", [part for part in parts() if part != KEYED])
async def test_answers_are_given_again(store: Store, part: str) -> None:
    """A difference that is not listed fails, and so does a listed one that is none."""
    different: dict[str, Any] = {}
    await drop(store, part)
    try:
        for question in questions(part):
            got = comparable(store, await ask(store, question))
            if question.answer["code"] == "INVALID_ARGUMENT":
                # Any other failure would be retried.
                assert got["code"] in ANSWERED, question.full_name
            if got != comparable(store, question.answer):
                different[question.full_name] = {"got": got, "want": question.answer}
    finally:
        await drop(store, part)
    listed = {name for name in differences() if name.startswith(f"{part}/")} if store.kind == "embedded" else set()
    unlisted = {name: different[name] for name in different.keys() - listed}
    assert not unlisted, json.dumps(unlisted, indent=1)
    assert not listed - different.keys()
