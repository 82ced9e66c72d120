"""897 recorded questions to Qdrant, asked again of the embedded engine and of a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError
from memq_worker.qdrant.errors import find
from tests.contract.recorded import ask, comparable, differences, drop, parts, questions
from tests.contract.store import connected
from tests.support.qdrant import NoQdrantError, own_qdrant_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.store import Store

# Asked of a server that has keys; the errors it answers with are covered by the table of the worker's adapter.
KEYED = "access"
ANSWERED = {"OK", "INVALID_ARGUMENT", "UNIMPLEMENTED", "NOT_FOUND", "ALREADY_EXISTS", "OUT_OF_RANGE"}


def test_every_recorded_question_is_here_once() -> None:
    names = [question.full_name for part in parts() for question in questions(part)]
    assert len(names) == len(set(names)) == 897


def test_every_difference_is_of_a_question() -> None:
    assert set(differences()) <= {question.full_name for part in parts() for question in questions(part)}


async def test_a_server_with_keys_answers_as_recorded(tmp_path: Path) -> None:
    keys = {"api_key": "memq-key", "read_only_api_key": "memq-read-key", "jwt_rbac": "true"}
    different: dict[str, Any] = {}
    try:
        with own_qdrant_server(tmp_path, **keys) as address:
            async with connected("qdrant", address) as store:
                for question in questions(KEYED):
                    got = await ask(store, question)
                    if got != question.answer:
                        different[question.name] = {"got": got, "want": question.answer}
    except NoQdrantError as missing:
        pytest.skip(str(missing))
    assert not different, json.dumps(different, indent=1)


# Kept for later or waited for, because they may pass: rate limits, full quotas, and keys that an operator replaces.
PASSING = {"strict", "access"}
# A server panics, and its client sees no more than a connection that ended; and names that memq refuses by itself.
ENDED = {"collections/custom query without a key", "collections/name alone '.'", "collections/name alone '..'"}


@pytest.mark.parametrize("part", parts())
def test_every_recorded_refusal_is_a_typed_error(part: str) -> None:
    """None counts as a passing failure of the store, which would be retried."""
    for question in questions(part):
        code, details = question.answer["code"], question.answer.get("details", "")
        if code == "OK" or question.full_name in ENDED:
            continue
        row = find(grpc.StatusCode[code], details, question.answer.get("trailing", {}))
        assert row.code not in (ErrorCode.STORE_ERROR, ErrorCode.UNEXPECTED), question.full_name
        if part not in PASSING:
            assert row.raises is MessageError, (question.full_name, code, details)


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
