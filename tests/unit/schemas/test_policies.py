from __future__ import annotations

from typing import Any

import pytest

from memq_schemas import Names, topology
from memq_schemas.policies import QueuePolicies, losses, summary
from memq_schemas.tenants import shared_topology

NAMES = Names("memq")
ARGUMENTS = {queue.name: queue.arguments for queue in (*topology("memq").queues, *shared_topology("memq").queues)}


def queue(role: str, definition: dict[str, Any], **more: Any) -> QueuePolicies:
    name = f"memq.{role}"
    return QueuePolicies(name, more.pop("arguments", ARGUMENTS[name]), "limits", definition=definition, **more)


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
@pytest.mark.parametrize("version", ["3.10.8", "4.0.5", "4.3.6"])
def test_the_topology_alone_loses_nothing(name: str, version: str) -> None:
    assert losses(QueuePolicies(name, ARGUMENTS[name], version=version), NAMES) == []


@pytest.mark.parametrize(
    ("version", "arguments", "definition", "limit"),
    [
        ("3.10.8", {}, {}, None),
        ("4.0.5", {}, {}, 20),
        ("3.10.8", {"x-delivery-limit": 1000}, {"delivery-limit": 20}, 20),
        ("4.3.6", {"x-delivery-limit": 20}, {"delivery-limit": 1000}, 20),
        ("3.10.8", {"x-delivery-limit": 1000}, {"delivery-limit": -1}, 0),
        ("4.3.6", {"x-delivery-limit": 1000}, {"delivery-limit": -1}, 1000),
        ("4.3.6", {}, {"delivery-limit": -1}, None),
        ("4.3.6", {}, {"delivery-limit": 5}, 5),
    ],
)
def test_the_delivery_limit_is_that_of_policy_arguments_and_version(
    version: str, arguments: dict[str, Any], definition: dict[str, Any], limit: int | None
) -> None:
    found = queue("dead", definition, arguments={"x-queue-type": "quorum", **arguments}, version=version)
    assert found.delivery_limit == limit


def test_a_dead_letter_queue_of_an_older_release_loses_letters_by_the_default_of_rabbitmq_4() -> None:
    (loss,) = losses(QueuePolicies("memq.dead", {"x-queue-type": "quorum"}, version="4.0.5"), NAMES)
    assert (loss.setting, loss.value, loss.source) == ("delivery-limit", 20, "RabbitMQ's default")


def test_a_policy_that_moves_dead_letters_elsewhere_is_named() -> None:
    (loss,) = losses(queue("dead", {"message-ttl": 1000, "dead-letter-exchange": "archive"}), NAMES)
    assert loss.setting == "message-ttl"


@pytest.mark.parametrize("role", ["store", "tenants", "query", "tenants.query"])
def test_a_policy_that_removes_an_announcement_or_requests_is_named(role: str) -> None:
    (loss,) = losses(queue(role, {"message-ttl": 1000}), NAMES)
    assert (loss.setting, loss.value) == ("message-ttl", 1000)


def test_a_summary_names_each_policy_once_with_its_queues() -> None:
    found = [
        loss
        for role in ("dead", "write", "store")
        for loss in losses(
            queue(role, {"expires": 1000, "delivery-limit": 5}, operator_policy="cap"),
            NAMES,
        )
    ]
    told = summary(found)
    assert told.count("expires") == 1
    assert "policy 'limits' or operator policy 'cap' sets delivery-limit to 5" in told
    assert "(memq.dead, memq.write, memq.store)" in told
