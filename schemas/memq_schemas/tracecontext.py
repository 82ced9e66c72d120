import re

# W3C Trace Context, section 3.2: version ff and ids of zeros are invalid, and version 00 has these four fields alone.
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?"
)
_LIMIT = 200  # characters; later versions may add fields


def trace_id(traceparent: object) -> str | None:
    """The 32 hexadecimal digits in the value of a `traceparent` header; None for anything that is not one."""
    if not isinstance(traceparent, str) or len(traceparent) > _LIMIT:
        return None
    found = _TRACEPARENT.fullmatch(traceparent)
    return None if found is None or (found["version"] == "00" and found["more"]) else found["trace"]
