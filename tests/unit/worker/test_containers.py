"""Limits on what a body holds: as much as a limit says is accepted, and one more is refused before the work is done."""

import json

import pytest

from memq_schemas import ErrorCode
from memq_schemas.limits import MAX_CONTAINERS, MAX_VALUES, MAX_VECTORS, MIN_VALUES, max_values, max_vectors
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode import checks
from memq_worker.pipeline.decode.bodies import Limits, decode
from tests.unit.worker.fakes import FakeLink, delivery

LIMITS = Limits(8 * 2**20, 1000)
PER_POINT = 100
TEXT, NUMBERS = '"AACAPw=="', "[1]"
SPARSE = '{"indices":[1],"values":[1]}'


def code(operation: str, body: str) -> ErrorCode | None:
    message = delivery(FakeLink(), 1, body.encode(), f"{operation}.docs", content_type="application/json")
    try:
        decode(message, LIMITS)
    except MessageError as error:
        return error.code
    return None


def upsert(vectors: list[str], payload: str = "{}") -> str:
    points = [f'{{"id":{n},"vector":{vector},"payload":{payload}}}' for n, vector in enumerate(vectors)]
    return f'{{"points":[{",".join(points)}]}}'


def named(vector: str, count: int) -> str:
    """This many vectors, PER_POINT of each point."""
    names = [f'"n{n}":{vector}' for n in range(PER_POINT)]
    full, rest = divmod(count, PER_POINT)
    return upsert([f"{{{','.join(names)}}}"] * full + [f"{{{','.join(names[:rest])}}}"] * bool(rest))


def rows(row: str, count: int) -> str:
    full, rest = divmod(count, 1000)
    return upsert(["[" + ",".join([row] * each) + "]" for each in [1000] * full + [rest] * bool(rest)])


def mixed(vector: str, count: int) -> str:
    """Return what `named` does, with a first vector that the parser of lists does not take."""
    return named(vector, count).replace('"n0":[1]', '"n0":"AACAPw=="', 1)


@pytest.mark.parametrize(
    ("make", "vector", "weight"),
    [
        (named, NUMBERS, 1),
        (mixed, NUMBERS, 1),
        (named, TEXT, 1),
        (named, SPARSE, 3),
        (rows, NUMBERS, 1),
        (rows, TEXT, 1),
    ],
)
@pytest.mark.parametrize("long", [False, True])
def test_vectors_of_a_message(make, vector: str, weight: int, long: bool) -> None:
    if long:  # as many bytes as need a larger limit, and small ones beside them
        padding = '{"a":"' + "x" * (4 * 2**20) + '"}'
        most = max_vectors(len(make(vector, 20_000 // weight)) + len(padding))
        assert most > MAX_VECTORS
        extra = upsert(["[1]"], padding)[len('{"points":[') : -2]
        bodies = [
            make(vector, count).replace('{"points":[', '{"points":[' + extra + ",", 1)
            for count in (20_000 // weight, 3 * most // 2 // weight)
        ]
    else:
        bodies = [make(vector, count) for count in (MAX_VECTORS // weight, MAX_VECTORS // weight + 1)]
    assert [code("upsert", body) for body in bodies] == [None, ErrorCode.TOO_LARGE]


@pytest.mark.parametrize("container", ["[]", '{"a":1}', "[[]]", '{"a":[1,2]}'])
@pytest.mark.parametrize("points", [1, 10])
def test_containers_of_payloads(container: str, points: int) -> None:
    each = container.count("[") + container.count("{")
    long = '"t":"' + "x" * (3 * 2**20 // points) + '"'

    def body(count: int) -> str:
        payload = f'{{"l":[{",".join([container] * (count // each // points))}],{long}}}'
        return upsert(["[1]"] * points, payload)

    # Each payload and its list are containers too.
    assert code("upsert", body(MAX_CONTAINERS - 100)) is None
    assert code("upsert", body(MAX_CONTAINERS + 100)) is ErrorCode.TOO_LARGE
    changed = f'{{"ids":[1],"set":{{"l":[{",".join([container] * (MAX_CONTAINERS // each))}],{long}}}}}'
    assert code("payload", changed) is ErrorCode.TOO_LARGE
    assert code("payload", changed.replace(container + ",", "", 100)) is None


@pytest.mark.parametrize(
    ("operation", "head", "item", "tail"),
    [
        ("query", '{"query":{"formula":{"sum":[', '{"abs":1}', "]}}}"),
        ("query", '{"query":{"fusion":"rrf"},"prefetch":[', '{"query":[1]}', "]}"),
        ("query", '{"vector":[1],"filter":{"must":[', '{"must":[]}', "]}}"),
        ("scroll", '{"filter":{"must":[', "{}", "]}}"),
        ("collections.create", '{"vectors":{"a":[', "{}", "]}}"),
    ],
)
def test_containers_of_requests(operation: str, head: str, item: str, tail: str) -> None:
    body = head + ",".join([item + " " * 60] * (MAX_CONTAINERS + 1)) + tail
    assert code(operation, body) is ErrorCode.TOO_LARGE


@pytest.mark.parametrize("values", [MIN_VALUES, 150_000, MAX_VALUES])
def test_values_are_limited_by_bytes(values: int) -> None:
    def body(count: int, size: int) -> str:
        found = upsert(["[1]"], '{"l":[' + ",".join("1" * count) + '],"t":"?"}')
        return found.replace("?", "x" * (size - len(found) + 1))

    size = max(500_000, 10 * values)
    assert max_values(size) == values
    assert code("upsert", body(values - 20, size)) is None
    assert code("upsert", body(values + 20, size)) is ErrorCode.TOO_LARGE


def test_what_is_inside_texts_is_not_counted() -> None:
    text = '[{,\\"' * 200_000
    assert code("upsert", upsert(["[1]"], json.dumps({"t": text}))) is None
    assert code("payload", json.dumps({"ids": [1], "set": {"t": text}})) is None


def test_an_ordinary_body_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    count = checks.census
    from memq_worker.pipeline.decode import points as decoder

    monkeypatch.setattr(decoder, "census", lambda body: (seen.append(len(body)), count(body))[1])
    monkeypatch.setattr(checks, "values", lambda body: pytest.fail("counted exactly"))
    vector = "[" + ",".join(["0.123456"] * 384) + "]"
    assert code("upsert", upsert([vector] * 1000, '{"text":"some words","tags":["a","b"],"year":2024}')) is None
    assert len(seen) == 1
