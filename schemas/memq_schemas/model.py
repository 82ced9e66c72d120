from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Shared by every body and reply: unknown fields are refused, types not coerced, errors never quote input."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        populate_by_name=True,
        ser_json_inf_nan="null",
    )
