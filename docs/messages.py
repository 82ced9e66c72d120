"""Messages of the programs, read from the source: errors, logs and lines on the terminal."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "schemas/memq_schemas",
    "transport/memq_amqp",
    "transport/memq_process",
    "producer/memq",
    "producer/memq_cli",
    "worker/memq_worker",
    "worker/memq_engine",
    "worker/memq_qdrant",
)
LEVELS = ("debug", "info", "warning", "error", "critical", "exception")
LOGGERS = ("logger", "log")
PARTS = ("wording", "remedy", "hint")  # keywords with a part of a message
PRINTED = ("notice", "say", "echo", "print", "fail", "write")
ERRORS = ("BadParameter", "Exception", "OSError", "RuntimeError", "TypeError", "ValueError", "KeyError", "Finding")
LONGEST = 40  # characters of an expression that is shown in a message
SHORTEST = 3  # characters of a text that is a message


@dataclass(frozen=True, slots=True, order=True)
class Message:
    """A message of a module.

    kind: name of the error, level of the log line, "printed", or "part" of a message of the module.
    fields: names of the log line's fields.
    """

    text: str
    kind: str
    fields: tuple[str, ...] = ()


def page() -> str:
    """Return the page with every message by module."""
    parts = [
        "# Messages",
        "",
        "Every error, log line and printed line of the programs, by module. `{…}` stands for a value. Codes of errors",
        "are in [Errors](errors.md), options of the commands in [Commands](commands.md).",
    ]
    trees = {path: ast.parse(path.read_text("utf-8")) for path in _sources()}
    errors = _error_classes(trees.values())
    errors |= _makers(trees.values(), errors)
    for path, tree in trees.items():
        found = sorted(set(_messages(tree, errors)))
        if found:
            name = str(path.relative_to(ROOT).with_suffix("")).partition("/")[2].replace("/", ".")
            parts += ["", f"## {name}", "", *map(_line, found)]
    return "\n".join(parts)


def _sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def _line(message: Message) -> str:
    fields = f" ({', '.join(message.fields)})" if message.fields else ""
    text = message.text.strip().replace("\n", " ⏎ ").replace("<", "&lt;").replace("|", "\\|")
    return f"- *{message.kind}* {text}{fields}"


def _error_classes(trees: Iterable[ast.Module]) -> set[str]:
    """Return the names of all exception classes, built-in ones among them."""
    bases: dict[str, set[str]] = defaultdict(set)
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases[node.name] |= {_name(base) for base in node.bases}
    known: set[str] = {*ERRORS}
    while more := {name for name, of in bases.items() if of & known} - known:
        known |= more
    return known


def _makers(trees: Iterable[ast.Module], errors: set[str]) -> set[str]:
    """Return the names of functions that return an error."""
    functions = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {each.name for each in functions if each.returns is not None and _name(each.returns) in errors}


def _messages(tree: ast.Module, errors: set[str]) -> Iterator[Message]:
    variables = _variables(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for message, values in _of_call(node, errors):
                yield message
                yield from (Message(text, "part") for name in values for text in variables.get(name, ()))


def _of_call(node: ast.Call, errors: set[str]) -> Iterator[tuple[Message, set[str]]]:
    """Every message of a call, with the names of the variables that it contains."""
    name = _name(node.func)
    found: list[tuple[str, Iterable[ast.expr], tuple[str, ...]]] = []
    if name in LEVELS and isinstance(node.func, ast.Attribute) and _name(node.func.value) in LOGGERS:
        found.append((name, node.args[:1], _fields(node)))
    elif name in errors:
        given = [*node.args, *(each.value for each in node.keywords if each.arg in ("message", "text"))]
        found.append((name, given, ()))
    elif name in PRINTED:
        found.append(("printed", node.args[:1], ()))
    for each in node.keywords:
        if each.arg == "custom_error_message":
            found.append(("ValidationError", [each.value], ()))
        elif each.arg in PARTS:
            found.append(("part", [each.value], ()))
    for kind, values, fields in found:
        for value in values:
            names = {part.id for part in ast.walk(value) if isinstance(part, ast.Name)}
            texts = list(_texts([value]))
            yield from ((Message(text, kind, fields), names) for text in texts)


def _variables(tree: ast.Module) -> dict[str, set[str]]:
    """Return the texts that are assigned to each variable of a module, with a space in them."""
    texts: dict[str, set[str]] = defaultdict(set)
    for node in ast.walk(tree):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if value is not None:
            found = {text for text in _texts(value.values if isinstance(value, ast.Dict) else [value]) if " " in text}
            for target in targets:
                texts[_name(target)] |= found
    return texts


def _fields(call: ast.Call) -> tuple[str, ...]:
    """Return the keys of `extra`, as far as they are written out."""
    extra = next((each.value for each in call.keywords if each.arg == "extra"), None)
    dicts = [] if extra is None else [node for node in ast.walk(extra) if isinstance(node, ast.Dict)]
    keys = [key.value for each in dicts for key in each.keys if isinstance(key, ast.Constant)]
    return tuple(key for key in keys if isinstance(key, str))


def _texts(values: Iterable[ast.expr]) -> Iterator[str]:
    for value in values:
        for arm in (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,):
            text = _text(arm)
            if text is not None and len(text.strip()) >= SHORTEST and any(map(str.isalpha, text)):
                yield text


def _text(value: ast.expr) -> str | None:
    """Return a literal with its placeholders; None for an expression that has no text of its own."""
    if isinstance(value, ast.Constant):
        return value.value if isinstance(value.value, str) else None
    if isinstance(value, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{" + _placeholder(part) + "}"
            for part in value.values
        )
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        left, right = _text(value.left), _text(value.right)
        return None if left is None and right is None else f"{left or '{…}'}{right or '{…}'}"
    return None


def _placeholder(part: ast.expr) -> str:
    shown = ast.unparse(part.value) if isinstance(part, ast.FormattedValue) else "…"
    return shown if len(shown) <= LONGEST and "\n" not in shown and '"' not in shown and "'" not in shown else "…"


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
