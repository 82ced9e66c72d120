import re
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path

_NAME = "runbooks.md"
# A wheel carries the page; a checkout has it among its documents.
_IN_CHECKOUT = Path("docs", "reference", _NAME)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>memq runbooks</title>
<style>body{{max-width:50rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 sans-serif}}
pre{{background:#f4f4f4;padding:.5rem;overflow:auto}}section:target h2{{background:#ffe9b0}}</style>
</head><body>{}</body></html>
"""


@cache
def page() -> bytes:
    """HTML of the runbooks, a section for each alert with its name, and its name in lower case, as anchors."""
    from markdown_it import MarkdownIt  # here: a start need not wait for a page that is seldom read

    introduction, *sections = re.split(r"(?m)^## ", _text())
    render = MarkdownIt().render
    parts = [render(introduction)]
    for section in sections:
        name, _, body = section.partition("\n")
        anchor = escape(name.strip(), quote=True)
        parts.append(f'<section id="{anchor.lower()}"><h2 id="{anchor}">{anchor}</h2>{render(body)}</section>')
    return _PAGE.format("\n".join(parts)).encode()


def _text() -> str:
    packaged = files("memq_worker.observe") / _NAME
    if packaged.is_file():
        return packaged.read_text("utf-8")
    for folder in Path(__file__).resolve().parents:
        if (folder / _IN_CHECKOUT).is_file():
            return (folder / _IN_CHECKOUT).read_text("utf-8")
    return "# Runbooks\n\nThis installation does not include the runbooks.\n"
