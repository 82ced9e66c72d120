"""Addresses of the brokers: the argument, the variable or the file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from memq_amqp import Brokers
from memq_amqp.address import DEFAULT_URL, Address, AddressError, parse

from memq.errors import ConfigurationError
from memq_schemas.secret_files import SecretFileError, read_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "MEMQ_AMQP_URL"
FILE_VARIABLE = "MEMQ_AMQP_URL_FILE"

CONNECT_SECONDS = 10.0

__all__ = ["FILE_VARIABLE", "VARIABLE", "Address", "addresses", "brokers"]


def addresses(url: str | Sequence[str] | None = None) -> tuple[Address, ...]:
    """Where to connect: what was given, else MEMQ_AMQP_URL, else what the file of MEMQ_AMQP_URL_FILE says, else the
    local broker. Commas separate several brokers.

    Raises ConfigurationError, which names the source and never quotes the URL.
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
    if url:
        # The command hands the variable on as its option.
        return VARIABLE if url == os.environ.get(VARIABLE) else "url", url
    if given := os.environ.get(VARIABLE):
        return VARIABLE, given
    if path := os.environ.get(FILE_VARIABLE):
        try:
            return FILE_VARIABLE, read_secret(path)
        except SecretFileError as error:
            raise ConfigurationError(f"{FILE_VARIABLE}: {error}") from None
    return "url", DEFAULT_URL
