"""The collections that tenants share, made before any point is written to them."""

from collections.abc import Mapping

from memq_schemas import CreateCollection, CreateIndex, IndexType, Operation
from memq_worker.pipeline.spaces.hidden_keys import TENANT_KEY
from memq_worker.pipeline.store import Store

_INDEX = CreateIndex(key=TENANT_KEY, type=IndexType.KEYWORD, is_tenant=True)


async def prepare(store: Store, contracts: Mapping[str, CreateCollection], timeout: float) -> None:
    """Create the collections that do not exist yet, and the index by tenant of each.

    Raises MessageError if a collection exists with other vectors, and what Store raises.
    """
    for name, contract in contracts.items():
        await store.create_collection(name, contract.model_copy(update={"exist_ok": True}), timeout)
        await store.request(Operation.CREATE_INDEX, name, _INDEX, timeout)
