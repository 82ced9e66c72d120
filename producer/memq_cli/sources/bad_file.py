class BadFile(ValueError):
    """The text names the file, the place in it and what would be right."""
