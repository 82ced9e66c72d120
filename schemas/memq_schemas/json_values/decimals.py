from decimal import Decimal

from memq_schemas.json_values.problem import InexactValue

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1

BEYOND_64_BITS = "an integer beyond 64 bits (signed); store it as text"
INFINITE = "infinite, which JSON has no number for"
INEXACT = "has more digits than a 64-bit float keeps; store it as text"

_DIGITS = len(str(MAX_INTEGER))


def json_number(value: Decimal) -> int | float | None:
    """The JSON number that is exactly this decimal: an integer where it has no decimal places, None for NaN.

    A decimal with places is exact if its nearest double prints back as the same number. Raises InexactValue otherwise.
    """
    exponent = value.as_tuple().exponent
    if isinstance(exponent, str):
        if value.is_nan():
            return None
        raise InexactValue(INFINITE)
    if exponent >= 0:
        # The digits are counted first: 1E+1000000 is a short decimal and a long integer.
        if value and value.adjusted() >= _DIGITS:
            raise InexactValue(BEYOND_64_BITS)
        return within_64_bits(int(value))
    number = float(value)
    if Decimal(repr(number)) != value:
        raise InexactValue(INEXACT)
    return number


def within_64_bits(value: int) -> int:
    """The integer itself. Raises InexactValue for one that Qdrant's payload cannot hold."""
    if not MIN_INTEGER <= value <= MAX_INTEGER:
        raise InexactValue(BEYOND_64_BITS)
    return value


def decimal_text(value: Decimal) -> str:
    """All digits, with the decimal places that the value has and without an exponent: `3.30`."""
    return format(value, "f")
