"""The programs of the recipes page, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.stores import STORES, worker_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.broker import Broker
    from tests.support.broker import Address

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/recipes.md").read_text("utf-8")
RECIPES: dict[str, tuple[str, str]] = {
    title: (program, printed)
    for title, program, printed in re.findall(
        r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```\n```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE
    )
}


def test_every_recipe_is_found() -> None:
    assert list(RECIPES) == re.findall(r"^## (.+)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module", params=STORES)
def stack(
    request: pytest.FixtureRequest, broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Address]:
    with worker_on(request.param, broker, tmp_path_factory.mktemp("data")) as address:
        if address.prefix != "memq":
            pytest.skip("the recipes use the default prefix, and this broker has no virtual host of its own for it")
        yield address


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_prints_what_the_page_says(stack: Address, title: str) -> None:
    program, printed = RECIPES[title]
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"MEMQ_AMQP_URL": stack.url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", printed)
