from .options import EngineOptions
from .process import run

__all__ = ["EngineOptions", "run"]
