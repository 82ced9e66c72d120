"""The tenants file: who exists, what each may use, and how its points are stored."""

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError, model_validator

from memq_schemas import CreateCollection, check_collection
from memq_schemas.model import Input
from memq_schemas.problems import Problem, problems
from memq_schemas.tenants import TENANT_NAME
from memq_worker.errors import ConfigurationError

Storage = Literal["own", "shared"]
Access = Literal["write", "read"]

_NAME = re.compile(TENANT_NAME)
_FIELD_FIRST = re.compile(r"[a-z_]+: ")
_USER = re.compile(r"[A-Za-z0-9._@+-]{1,100}")

# An integer is a number too: TOML writes 100 and 100.0 apart, and strict models take them apart as well.
Rate = Annotated[float, BeforeValidator(lambda value: float(value) if type(value) is int else value), Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def _tenant_name(name: object) -> object:
    if isinstance(name, str) and not _NAME.fullmatch(name):
        raise ValueError("expected a tenant name of 1 to 63 characters out of a-z, 0-9 and -")
    return name


def _user_name(name: object) -> object:
    if isinstance(name, str) and not _USER.fullmatch(name):
        raise ValueError("expected a user name of 1 to 100 letters, digits and . _ @ + -")
    return name


def _collection_name(name: object) -> object:
    return check_collection(name) if isinstance(name, str) else name


TenantName = Annotated[str, BeforeValidator(_tenant_name)]
UserName = Annotated[str, BeforeValidator(_user_name)]
CollectionName = Annotated[str, BeforeValidator(_collection_name)]


class User(Input):
    """A RabbitMQ user of one tenant.

    password_file: a file with the password, relative to the tenants file; without it, the user's password is never set
    or changed.   access: "read" for requests that change nothing.
    """

    password_file: Annotated[str, StringConstraints(min_length=1)] | None = None
    access: Access = "write"


class Limits(Input):
    """Limits of one tenant; None for no limit.

    Writes: `points_per_second`, `bytes_per_second` (bodies), `message_bytes` (one body), `backlog_bytes` (bodies that
    wait in the tenant's own queues).   Requests: `requests_per_second`, `concurrency` (unanswered at a time).
    Storage: `stored_points` over all collections, `collections`.
    """

    points_per_second: Rate | None = None
    bytes_per_second: Rate | None = None
    requests_per_second: Rate | None = None
    concurrency: Count | None = None
    stored_points: Count | None = None
    collections: Count | None = None
    message_bytes: Count | None = None
    backlog_bytes: Count | None = None

    @property
    def need_lane(self) -> bool:
        """Return True if a limit can only be kept in a lane that the tenant has for itself."""
        return any(each is not None for each in (self.points_per_second, self.bytes_per_second, self.backlog_bytes))


class Tenant(Input):
    """One tenant.

    storage: "own" for collections named `<tenant>.<collection>`; "shared" for a part of collections that several
    tenants have in common.   collections: the shared collections that it may use; None for all of the file.
    lane: "own" for queues of its own, "shared" for those of all small tenants; None for own where a limit needs it.
    weight: its share of the store, relative to lanes of weight 1.
    """

    storage: Storage = "own"
    collections: Annotated[list[CollectionName], Field(min_length=1)] | None = None
    lane: Literal["own", "shared"] | None = None
    weight: Annotated[Rate, Field(le=1000)] = 1.0
    users: dict[UserName, User] = Field(default_factory=dict[str, User])
    limits: Limits = Limits()

    @property
    def own_lane(self) -> bool:
        return self.lane == "own" or (self.lane is None and self.limits.need_lane)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.lane == "shared" and self.limits.need_lane:
            raise ValueError(
                "lane: 'shared' with points_per_second, bytes_per_second or backlog_bytes; these limits need a lane of "
                "the tenant's own, so expected 'own' or no lane"
            )
        if self.collections is not None and self.storage != "shared":
            raise ValueError("collections: only for storage 'shared'; with 'own' a tenant creates its collections")
        return self


class TenantsFile(Input):
    """The whole file.

    generation: raised with every change.   shared: contracts of the shared collections by name, each as the body of
    `collections.create`.   tenants: by name.
    """

    generation: Annotated[int, Field(ge=1, lt=2**53)]
    shared: dict[CollectionName, CreateCollection] = Field(default_factory=dict[str, CreateCollection])
    tenants: dict[TenantName, Tenant] = Field(default_factory=dict[str, Tenant])

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for collection in self.shared:
            if (first := collection.partition(".")[0]) in self.tenants and first != collection:
                raise ValueError(
                    f'[shared."{collection}"]: begins with the name of a tenant, to whom every collection '
                    f"{first}.<name> belongs; expected another name"
                )
        owners: dict[str, str] = {}
        for name, tenant in self.tenants.items():
            for user in tenant.users:
                if user in owners:
                    raise ValueError(
                        f"[tenants.{name}.users.{user}]: the same user as in [tenants.{owners[user]}.users]"
                    )
                owners[user] = name
            if tenant.storage == "shared" and not self.shared:
                raise ValueError(f"[tenants.{name}] storage: 'shared' needs a table [shared.<collection>]")
            for collection in tenant.collections or ():
                if collection not in self.shared:
                    raise ValueError(
                        f"[tenants.{name}] collections: no table [shared.{collection}]; expected some of "
                        f"{', '.join(sorted(self.shared)) or 'none'}"
                    )
        return self

    @property
    def digest(self) -> str:
        """Identify the content: equal for files that mean the same."""
        return hashlib.sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:16]

    def shared_of(self, name: str) -> dict[str, CreateCollection]:
        """Contracts of the shared collections that a tenant may use, by name."""
        chosen = self.tenants[name].collections
        return {each: contract for each, contract in self.shared.items() if chosen is None or each in chosen}


def parse(text: str) -> TenantsFile:
    """Read the text of a tenants file. Raises ConfigurationError with a line for every mistake: its table and field."""
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"not TOML: {error}") from None
    try:
        return TenantsFile.model_validate(fields)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_line(problem, fields) for problem in problems(error))) from None


def read(path: Path) -> TenantsFile:
    """Read a tenants file. Raises ConfigurationError, which names the file in every line."""
    try:
        return parse(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigurationError(f"{path}: the file cannot be read: {reason}") from None
    except ConfigurationError as error:
        raise ConfigurationError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None


def _line(problem: Problem, fields: dict[str, Any]) -> str:
    steps = [str(step) for step in problem.steps]
    if not steps:
        return problem.text
    # The last step is a field, unless it is a table and at fault as a whole.
    value: Any = fields
    for step in steps:
        value = cast("dict[str, Any]", value).get(step) if isinstance(value, dict) else None
    whole = isinstance(value, dict)
    table = ".".join(steps if whole else steps[:-1])
    text = problem.text.replace("an object", "a table")
    if not whole:
        return f"[{table}] {steps[-1]}: {text}" if table else f"{steps[-1]}: {text}"
    return f"[{table}] {text}" if _FIELD_FIRST.match(text) else f"[{table}]: {text}"
