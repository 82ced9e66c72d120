"""Whose a message is, by what the broker says and never by what its sender wrote."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memq_schemas import Names, Operation
from memq_schemas.routing import READS, UNNAMED
from memq_schemas.tenants import TenantNames, Whose, tenant_topology

NAMES = Names("memq")
WHOSE = Whose(NAMES)
TENANTS = st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True)
CARRYING = ("memq.internal", "memq.internal.retry.5", "memq.suspect", "memq.dead")


@given(TENANTS, TENANTS, st.sampled_from(["", ".bulk", ".read"]))
def test_a_message_through_a_tenant_s_exchange_is_that_tenant_s_whatever_it_says(
    tenant: str, claimed: str, kind: str
) -> None:
    forged = {"x-tenant": claimed, "x-lane": f"t.{claimed}", "x-death": [{"exchange": f"memq.t.{claimed}"}]}
    assert WHOSE.sent(f"memq.t.{tenant}{kind}", forged) == tenant


@pytest.mark.parametrize("exchange", ["", "memq.commands", "memq.bulk", "amq.topic", "memq.tx", "memq.r.acme", "other"])
def test_a_message_through_another_exchange_is_the_operator_s_whatever_it_says(exchange: str) -> None:
    assert WHOSE.sent(exchange, {"x-tenant": "acme", "x-lane": "t.acme"}) is None


@pytest.mark.parametrize("exchange", CARRYING)
def test_on_memq_s_own_exchanges_the_worker_s_header_says_whose_it_is(exchange: str) -> None:
    assert WHOSE.sent(exchange, {"x-tenant": "acme"}) == "acme"
    assert WHOSE.sent(exchange, {}) is None


@pytest.mark.parametrize("written", ["", "a.b", "Acme", 7, ["acme"], "a" * 64, b"acme"])
def test_what_no_worker_writes_is_nobody_s(written: Any) -> None:
    assert WHOSE.sent("memq.suspect", {"x-tenant": written}) == ""
    assert WHOSE.dead({"x-tenant": written}) == ""


@pytest.mark.parametrize("exchange", ["memq.t.", "memq.t.Acme", "memq.t..bulk", "memq.t.a b"])
def test_an_exchange_that_no_tenant_has_is_nobody_s(exchange: str) -> None:
    assert WHOSE.sent(exchange, {"x-tenant": "acme"}) == ""


@pytest.mark.parametrize("exchange", ["memq.reply.mallory.front", "memq.r.mallory", "", "other"])
def test_nothing_in_a_queue_of_tenants_is_the_operator_s(exchange: str) -> None:
    forged = {"x-tenant": "acme", "x-lane": "t.acme"}
    for queue in ("memq.tenants.write", "memq.tenants.write.bulk", "memq.tenants.query"):
        assert WHOSE.received(queue, exchange, forged) == ""
        assert WHOSE.received(queue, "memq.t.mallory", forged) == "mallory"
        assert WHOSE.dead({"x-death": [{"exchange": exchange, "queue": queue}]} | forged) == ""
    for queue in ("memq.lane.mallory", "memq.lane.mallory.bulk"):
        assert WHOSE.received(queue, exchange, forged) == "mallory"
        assert WHOSE.received(queue, "memq.internal", {"x-tenant": "mallory"}) == "mallory"
        assert WHOSE.dead({"x-death": [{"exchange": exchange, "queue": queue}]} | forged) == "mallory"
    for queue in ("memq.write", "memq.query", "memq.suspect"):
        assert WHOSE.received(queue, exchange, forged) is None


def test_a_letter_that_a_worker_copied_is_that_of_its_header() -> None:
    assert WHOSE.dead({"x-tenant": "acme"}) == "acme"
    assert WHOSE.dead({}) is None


@pytest.mark.parametrize(
    ("newest", "header", "tenant"),
    [
        ({"exchange": "memq.t.acme", "queue": "memq.tenants.write"}, "mallory", "acme"),
        ({"exchange": "memq.t.acme.bulk", "queue": "memq.lane.acme.bulk"}, None, "acme"),
        ({"exchange": "memq.commands", "queue": "memq.write"}, "acme", None),
        ({"exchange": "memq.internal", "queue": "memq.lane.acme"}, "acme", "acme"),
        ({"exchange": "memq.t.mallory", "queue": "memq.lane.acme"}, "mallory", "acme"),
        ({"exchange": "memq.suspect", "queue": "memq.suspect"}, "acme", "acme"),
        ({"exchange": "memq.suspect", "queue": "memq.suspect"}, None, None),
        ({"queue": "memq.tenants.write"}, "acme", ""),
        ("no table", "acme", ""),
    ],
)
def test_a_letter_that_the_broker_moved_is_that_of_the_newest_death(
    newest: Any, header: str | None, tenant: str | None
) -> None:
    own: dict[str, Any] = {"x-death": [newest, {"exchange": "memq.t.mallory"}]}
    assert WHOSE.dead(own if header is None else own | {"x-tenant": header}) == tenant


def test_only_of_the_shared_lane_may_a_client_choose_whose_a_letter_is() -> None:
    assert WHOSE.forgeable({"x-death": [{"exchange": "memq.t.acme", "queue": "memq.tenants.write"}]})
    assert not WHOSE.forgeable({"x-death": [{"exchange": "memq.t.acme", "queue": "memq.lane.acme"}]})
    assert not WHOSE.forgeable({"x-tenant": "acme"})


@pytest.mark.parametrize("name", ["", "a.b", "Acme", "a_b", "a" * 64, "a\n", "ä"])
def test_a_name_that_no_tenant_has_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="tenant: "):
        TenantNames("memq", name)


def test_every_operation_has_one_queue_and_readers_have_what_changes_nothing() -> None:
    layout = tenant_topology("memq", "acme", own_lane=True)
    own = TenantNames("memq", "acme")
    for operation in Operation:
        key = operation.value if operation in UNNAMED else f"{operation.value}.docs"
        reached = [b.queue for b in layout.bindings if b.exchange == own.commands and _matches(b.routing_key, key)]
        assert reached == [own.lanes["t.acme"] if operation.is_write else NAMES.tenants_query]
        read = [b.queue for b in layout.bindings if b.exchange == own.read and _matches(b.routing_key, key)]
        assert bool(read) == (operation in READS)
        bulk = [b.queue for b in layout.bindings if b.exchange == own.bulk and _matches(b.routing_key, key)]
        assert bulk == ([own.lanes["t.acme.bulk"]] if operation.is_write else [])


def _matches(pattern: str, key: str) -> bool:
    words = pattern.removesuffix(".#")
    return key == words or key.startswith(f"{words}.")
