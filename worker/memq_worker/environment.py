import os
from typing import Any

from pydantic import ValidationError

from memq_schemas.secret_files import SecretFileError, given_secret
from memq_schemas.variables import KNOWN, misspelt
from memq_worker.errors import ConfigurationError
from memq_worker.settings import SECRETS, Settings, file_variable, flag, variable


def load(flags: dict[str, Any] | None = None) -> Settings:
    """Return settings from flags, else from variables or files of secrets. A variable and its file exclude each other.

    Raises ConfigurationError naming every bad one, never quoting a value.
    """
    flags = flags or {}
    if wrong := misspelt(os.environ, KNOWN | {variable(name) for name in Settings.model_fields}):
        lines = [f"{name}: unknown variable, did you mean {meant}?" for name, meant in wrong.items()]
        raise ConfigurationError("\n".join(lines))
    paths, files = _files(flags)
    given: dict[str, Any] = {**files, **flags}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        lines = [_problem(list(p["loc"]), p["msg"], flags, files) for p in problems]
        raise ConfigurationError("\n".join(lines)) from None
    settings.secret_files.update(paths)
    return settings


def _files(flags: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return paths and contents, by setting, of the files that MEMQ_<NAME>_FILE names. Raises ConfigurationError."""
    paths: dict[str, str] = {}
    found: dict[str, str] = {}
    for name in SECRETS:
        if name in flags:
            continue
        try:
            given = given_secret(os.environ, variable(name))
        except SecretFileError as error:
            raise ConfigurationError(str(error)) from None
        if given is not None and given.path is not None:
            paths[name], found[name] = given.path, given.value
    return paths, found


def _problem(place: list[Any], message: str, flags: dict[str, Any], files: dict[str, str]) -> str:
    text = message.removeprefix("Value error, ")
    if not place:
        return text
    name = str(place[0])
    if name in flags:
        return f"{flag(name)}: {text}"
    return f"{file_variable(name) if name in files else variable(name)}: {text}"
