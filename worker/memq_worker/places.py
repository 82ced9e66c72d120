"""Directory and addresses that a worker needs of its machine: can it have them?"""

from __future__ import annotations

import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING

from memq_worker.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def require_directory(place: Path) -> Path:
    """Return the directory `place`, or the nearest one above it, in which a worker may make others.

    Raises ConfigurationError. Makes and removes a directory there: permissions alone say too little, above all to root.
    """
    nearest = place.absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if not nearest.is_dir():
        raise ConfigurationError(f"MEMQ_DATA_DIR: {nearest} is not a directory; name one that the worker may write to")
    trial = nearest / f".memq-{os.getpid()}"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        raise ConfigurationError(
            f"MEMQ_DATA_DIR: {nearest}: {error.strerror}; name a directory that the worker may write to"
        ) from None
    return nearest


def require_address(variable: str, host: str, port: int) -> None:
    """Raise ConfigurationError, naming the variable, if the worker cannot listen there. Port 0 is any."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen(1)
    except OSError as error:
        raise ConfigurationError(
            f"{variable}: cannot listen on {host}{f':{port}' if port else ''} ({error.strerror}); choose another"
        ) from None
