from typing import Any

from memq_qdrant import grpc
from memq_schemas import ErrorCode
from memq_worker.errors import MessageError


def switch_request(alias: str, before: str | None, collection: str) -> Any:
    """One call that takes the alias from its collection and gives it to another."""
    actions = [grpc.AliasOperations(create_alias=grpc.CreateAlias(collection_name=collection, alias_name=alias))]
    if before is not None:
        actions.insert(0, grpc.AliasOperations(delete_alias=grpc.DeleteAlias(alias_name=alias)))
    return grpc.ChangeAliases(actions=actions)


def delete_request(alias: str) -> Any:
    return grpc.ChangeAliases(actions=[grpc.AliasOperations(delete_alias=grpc.DeleteAlias(alias_name=alias))])


def by_alias(reply: Any) -> dict[str, str]:
    return {each.alias_name: each.collection_name for each in reply.aliases}


def name_conflict(alias: str, collection: str) -> MessageError:
    return MessageError(
        ErrorCode.COLLECTION_EXISTS,
        f"alias: it belongs to another collection than {collection!r}; alias.switch moves it",
        stage="answer",
    )
