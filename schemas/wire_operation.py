"""One operation as the generated documents show it."""

from dataclasses import dataclass
from typing import Any

from pydantic import create_model

from memq_schemas import Operation, ResultReply
from memq_schemas.model import Model
from memq_schemas.routing import UNNAMED


@dataclass(frozen=True, slots=True)
class WireOperation:
    operation: Operation
    title: str
    summary: str
    body: type[Model]
    result: Any
    example: dict[str, Any]
    example_result: Any

    @property
    def reply(self) -> type[ResultReply]:
        """The success reply with this operation's own result."""
        return create_model(f"{self.title}Reply", __base__=ResultReply, result=(self.result, ...))

    @property
    def address(self) -> str:
        return self.operation.value if self.operation in UNNAMED else f"{self.operation.value}.{{collection}}"

    @property
    def example_reply(self) -> dict[str, Any]:
        return {"status": 200, "result": self.example_result, "elapsed_ms": 1.5}
