"""Addresses of the brokers: the argument, the variable or the file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from memq_amqp import Brokers
from memq_amqp.address import DEFAULT_URL, Address, AddressError, parse

from memq.errors import ConfigurationError
from memq_schemas.secret_files import SecretFileError, file_variable, given_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "MEMQ_AMQP_URL"
FILE_VARIABLE = file_variable(VARIABLE)

CONNECT_SECONDS = 10.0

__all__ = ["FILE_VARIABLE", "VARIABLE", "Address", "addresses", "brokers"]


def addresses(url: str | Sequence[str] | None = None) -> tuple[Address, ...]:
    """Return the addresses of `url`, else of MEMQ_AMQP_URL or of the file that MEMQ_AMQP_URL_FILE names, else of the
    local broker. Commas separate several brokers.

    Raises ConfigurationError naming the source and never quoting the URL, also if both variables are set.
    """
    source, given = _given(url)
    try:
        return parse(given)
    except AddressError as error:
        raise ConfigurationError(f"{source}: {error}") from None


def brokers(url: str | Sequence[str] | None, name: str, *, fast: bool) -> Brokers:
    """The brokers at `addresses(url)`; the file of MEMQ_AMQP_URL_FILE is read again when its login is refused."""
    found = addresses(url)

    def reread() -> Sequence[Address]:
        try:
            return addresses(url)
        except ConfigurationError as error:
            raise AddressError(str(error)) from None

    return Brokers(found, name=name, timeout=CONNECT_SECONDS, fast=fast, reread=reread)


def _given(url: str | Sequence[str] | None) -> tuple[str, str | Sequence[str]]:
    # The command hands the variable on as its option.
    if url and url != os.environ.get(VARIABLE):
        return "url", url
    try:
        given = given_secret(os.environ, VARIABLE)
    except SecretFileError as error:
        raise ConfigurationError(str(error)) from None
    return (given.source, given.value) if given else ("url", DEFAULT_URL)
