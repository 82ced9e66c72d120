from __future__ import annotations

from typing import TYPE_CHECKING

from memq_cli import options
from memq_cli.options import Json, Prefix, Target, Tenant, Timeout, Url
from memq_cli.output import emit, notice, table
from memq_cli.run import run

if TYPE_CHECKING:
    from memq.producer import Producer
    from memq_schemas import TenantLimit


def limits(
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Show the limits of a tenant, and which of them are reached now.

    \b
    memq limits --tenant acme
    """
    target = Target(url, prefix, timeout, json, tenant)

    async def ask(producer: Producer) -> None:
        answer = await producer.limits()
        if target.json:
            emit(answer)
        elif answer.limits:
            table(["limit", "lane", "value", "used", "reached"], [_row(limit) for limit in answer])
        else:
            notice("no limits")

    run(target, ask)


def _row(limit: TenantLimit) -> list[str]:
    used = "" if limit.used is None else f"{limit.used:,}"
    reached = "" if limit.reached is None else "yes" if limit.reached else "no"
    return [limit.name, limit.lane or "", f"{limit.limit:,.10g}", used, reached]
