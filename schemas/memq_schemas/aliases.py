from typing import Annotated

from pydantic import AfterValidator, Field

from memq_schemas.model import Input, Model
from memq_schemas.routing import check_collection

AliasName = Annotated[str, AfterValidator(check_collection), Field(description="a name like a collection's")]


class NameAlias(Input):
    """Body of `alias.create`, `alias.switch` and `alias.delete`, followed by the collection's name."""

    alias: AliasName


class AliasCreated(Model):
    created: Annotated[bool, Field(description="false when the alias was the collection's already")]


class AliasSwitched(Model):
    before: Annotated[str | None, Field(description="the collection that the alias belonged to; null for a new alias")]


class AliasDeleted(Model):
    deleted: Annotated[bool, Field(description="false when there was no such alias of the collection")]


class Alias(Model):
    alias: str
    collection: str


class Aliases(Model):
    aliases: list[Alias]
