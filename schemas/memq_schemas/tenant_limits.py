from typing import Annotated

from pydantic import Field

from memq_schemas.model import Model
from memq_schemas.topology import Lane


class TenantLimit(Model):
    """One limit of a tenant, by the name that it has in the tenants file."""

    name: Annotated[str, Field(description="as in the tenants file and in errors, like backlog_bytes")]
    limit: Annotated[int | float, Field(description="the value in the tenants file")]
    lane: Annotated[Lane | None, Field(description="the lane that a limit on waiting messages is for, else null")] = (
        None
    )
    used: Annotated[int | None, Field(description="how much is in use; null where the worker does not count it")] = None
    reached: Annotated[
        bool | None,
        Field(description="whether the limit holds the tenant back now; null for a limit on a single message"),
    ] = None


class TenantLimits(Model):
    """Result of `limits`."""

    tenant: Annotated[str | None, Field(description="the tenant; null for the operator, who has no limits")]
    limits: Annotated[list[TenantLimit], Field(description="empty without limits")]
