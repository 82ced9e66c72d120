from typing import Any

from memq_qdrant import grpc
from memq_schemas import Facet
from memq_worker.qdrant.filters import where


def facet_request(collection: str, facet: Facet) -> Any:
    return grpc.FacetCounts(
        collection_name=collection, key=facet.key, limit=facet.limit, exact=facet.exact, filter=where(facet.filter)
    )


def facet_values(hits: Any) -> list[dict[str, Any]]:
    return [{"value": getattr(hit.value, hit.value.WhichOneof("variant")), "count": hit.count} for hit in hits]
