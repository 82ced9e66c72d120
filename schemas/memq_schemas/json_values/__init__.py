"""The one table of "type in, JSON out": values of Python, numpy and Arrow to JSON, exact or refused."""

from memq_schemas.json_values.problem import InexactValue, key_path
from memq_schemas.json_values.python import TOO_DEEP, is_plain, json_object, json_value
from memq_schemas.json_values.text import exact_json

__all__ = ["TOO_DEEP", "InexactValue", "exact_json", "is_plain", "json_object", "json_value", "key_path"]
