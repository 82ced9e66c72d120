"""Metadata of the packages that depend on the project's address: links, and README with absolute ones.

PROJECT_URL names the address of the repository, such as https://example.org/memq. While it is empty, the packages have
no links, and README's relative ones are left as they are.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

VARIABLE = "PROJECT_URL"
LINK = re.compile(r"(\]\(|src=\")(?!https?://|#|mailto:)([^)\"\s]+)")


class CustomMetadataHook(MetadataHookInterface):
    """Set `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        address = os.environ.get(VARIABLE, "").rstrip("/")
        text = (Path(self.root) / "README.md").read_text("utf-8")
        if address:
            text = LINK.sub(rf"\1{address}/blob/HEAD/\2", text)
            metadata["urls"] = {
                "Source": address,
                "Documentation": f"{address}/tree/HEAD/docs",
                "Changelog": f"{address}/blob/HEAD/CHANGELOG.md",
                "Issues": f"{address}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
