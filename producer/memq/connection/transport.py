"""Choice of the frame codec: memq_amqp's or aiormq's."""

from __future__ import annotations

import logging
import os
from typing import Literal, cast, get_args

import memq_amqp

from memq.errors import ConfigurationError

log = logging.getLogger("memq")

VARIABLE = "MEMQ_TRANSPORT"

Transport = Literal["fast", "stock"]


def transport(given: str | None = None) -> Transport:
    """Return the argument, else MEMQ_TRANSPORT, else fast where the installed aiormq is a known one, and stock where
    it is not, which is logged. Raises ConfigurationError for another word."""
    name = "transport" if given is not None else VARIABLE
    word = os.environ.get(VARIABLE) or "fast" if given is None else given
    if word not in get_args(Transport):
        raise ConfigurationError(f"{name}: expected fast or stock, this is {word!r}")
    if word == "fast" and (reason := memq_amqp.unusable()) is not None:
        log.warning("falling back to aiormq's frame codec", extra={"reason": reason})
        return "stock"
    return cast("Transport", word)
