class InexactValue(ValueError):
    """A value that JSON cannot say exactly, or that a worker refuses.

    path: where in the payload it stands, like `meta.tags[2]`; empty for the value itself.
    row: its position in a column, from 0; None for a single value.
    """

    def __init__(self, reason: str, path: str = "", row: int | None = None) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.reason = reason
        self.path = path
        self.row = row


def key_path(path: str, key: str) -> str:
    """The path of a key below `path`."""
    return f"{path}.{key}" if path else key
