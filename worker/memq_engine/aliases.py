"""Aliases of collections: made, moved, renamed and removed one after the other, as a server does."""

from typing import Any

from .engine import Engine
from .proto import messages
from .refusal import invalid


def update_aliases(engine: Engine, request: Any) -> Any:
    """Actions before a refused one stay, as on a server."""
    for action in request.actions:
        match action.WhichOneof("action"):
            case "create_alias":
                engine.create_alias(action.create_alias.alias_name, action.create_alias.collection_name)
            case "rename_alias":
                engine.rename_alias(action.rename_alias.old_alias_name, action.rename_alias.new_alias_name)
            case "delete_alias":
                engine.delete_alias(action.delete_alias.alias_name)
            case _:
                raise invalid("Malformed AliasOperation type")
    return messages.CollectionOperationResponse(result=True)


def all_aliases(engine: Engine, _request: Any) -> Any:
    return _reply(engine.aliases())


def aliases_of(engine: Engine, request: Any) -> Any:
    found = engine.aliases()
    return _reply({alias: name for alias, name in found.items() if name == request.collection_name})


def _reply(aliases: dict[str, str]) -> Any:
    reply = messages.ListAliasesResponse()
    for alias, name in sorted(aliases.items()):
        reply.aliases.add(alias_name=alias, collection_name=name)
    return reply
