"""Hooks of the site: the wire page from schemas/README.md, and links to files of the repository that are no pages."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
WIRE = "reference/wire.md"
LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, WIRE, content=(ROOT / "schemas" / "README.md").read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Point links at pages of the site. A link to another existing file of the repository becomes its name."""
    source = "schemas/README.md" if page.file.src_uri == WIRE else f"docs/{page.file.src_uri}"
    folder = posixpath.dirname(source)

    def replacement(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        if "://" in target:
            return link[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        uri = WIRE if path == "schemas/README.md" else path.removeprefix("docs/")
        if uri == WIRE or (path.startswith("docs/") and files.get_file_from_path(uri) is not None):
            return f"[{text}]({posixpath.relpath(uri, posixpath.dirname(page.file.src_uri))}{anchor})"
        # A broken link stays as it is, so that the strict build reports it.
        return text if (ROOT / path).exists() else link[0]

    return LINK.sub(replacement, markdown)
