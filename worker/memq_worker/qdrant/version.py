from memq_worker.errors import ConfigurationError

# The first that compares versions in an upsert; older servers ignore the condition and write.
_OLDEST = (1, 16)


def check_version(version: str) -> None:
    """Raise ConfigurationError for a Qdrant server that is too old. The embedded engine's versions begin with 0."""
    found = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if (1, 0) <= found < _OLDEST:
        raise ConfigurationError(
            f"Qdrant {version} is too old: versions on points need {'.'.join(map(str, _OLDEST))} or newer"
        )
