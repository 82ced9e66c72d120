import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    data_dir: Path
    listen: str = "127.0.0.1:6334"
    """HOST:PORT; port 0 takes a free one, named in the ready line."""
    min_free_bytes: int = 256 * 1024**2
    """Writes are refused while the file system has less: a full disk kills the engine by SIGBUS."""
    flush_seconds: float = 1.0
    """Longest time a write stays outside the reach of fsync. A killed process loses nothing either way."""
    optimize_idle_seconds: float = 30.0
    """Quiet time after which a large unindexed collection is indexed; 0 never indexes."""
    optimize_min_points: int = 50_000
    """Below this many unindexed vectors a query that looks at each is quick enough."""
    search_threads: int = min(2, os.cpu_count() or 1)
    """Per collection. The engine's own default is eight, and fifty collections then cost four hundred threads."""
    parent_pid: int | None = None
    """Stop when this process is no longer the parent."""
    stop_grace_seconds: float = 10.0
