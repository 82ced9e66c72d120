from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter

from memq import RemoteError
from memq.connection.replies import Pending, Reply, decode_reply
from memq.deliver.calls import read
from memq_schemas import ErrorCode, ScoredPoint, error_reply


def test_an_error_reply_becomes_a_typed_error() -> None:
    body = error_reply(ErrorCode.OVERLOADED, "slow down", 2.5, retry_after=3.0).model_dump_json().encode()
    with pytest.raises(RemoteError, match="429 overloaded: slow down") as caught:
        decode_reply(body)
    error = caught.value
    assert (error.code, error.status, error.retryable, error.retry_after) == ("overloaded", 429, True, 3.0)
    assert (error.message, error.elapsed_ms) == ("slow down", 2.5)


def test_a_newer_workers_codes_and_fields_are_taken() -> None:
    detail = {"code": "brand_new", "message": "m", "retryable": False, "colour": "red"}
    with pytest.raises(RemoteError) as caught:
        decode_reply(orjson.dumps({"status": 499, "error": detail, "elapsed_ms": 1, "more": 1}))
    assert caught.value.code == "brand_new"
    reply = decode_reply(b'{"status":200,"result":[{"id":1,"score":1,"novel":2}],"elapsed_ms":1.5,"novel":3}')
    assert read(TypeAdapter(list[ScoredPoint]), reply) == [ScoredPoint(id=1, score=1.0)]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"3", b"{}", b'{"status":200,"elapsed_ms":1}', b'{"status":422,"error":{},"elapsed_ms":1}']
)
def test_a_reply_that_breaks_the_contract_is_an_error_too(body: bytes) -> None:
    with pytest.raises(RemoteError, match="contract"):
        decode_reply(body)


@pytest.mark.parametrize("result", [None, {}, [{"id": 1}], [{"score": 0.5}]])
def test_so_is_a_result_that_does(result: Any) -> None:
    with pytest.raises(RemoteError, match="contract"):
        read(TypeAdapter(list[ScoredPoint]), Reply(200, result, 1.0))


async def test_only_the_one_who_waits_gets_an_answer_and_only_once() -> None:
    pending = Pending()
    first, second = pending.expect("1"), pending.expect("2")
    pending.arrived("1", b"a")
    pending.arrived("1", b"again")
    pending.arrived("3", b"b")
    pending.arrived(None, b"c")
    assert (await first, second.done(), pending.ignored) == (b"a", False, 3)
    pending.lost()
    assert await second is None
    pending.forget("2")
    pending.arrived("2", b"late")
    assert pending.ignored == 4
