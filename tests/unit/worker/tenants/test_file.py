"""The tenants file: what it may say, and errors that name table and field."""

import pytest

from memq_worker.errors import ConfigurationError
from memq_worker.tenants.file import parse

WHOLE = """
generation = 7

[shared.notes]
size = 4
distance = "Dot"

[tenants.acme]
weight = 2
[tenants.acme.users.acme-app]
password_file = "secrets/acme-app"
[tenants.acme.users.acme-dashboard]
access = "read"
[tenants.acme.limits]
points_per_second = 100
requests_per_second = 2.5
concurrency = 4

[tenants.beta]
storage = "shared"
collections = ["notes"]
"""


def test_a_file_is_read_with_its_defaults() -> None:
    found = parse(WHOLE)
    acme, beta = found.tenants["acme"], found.tenants["beta"]
    assert (found.generation, acme.storage, acme.own_lane, acme.weight) == (7, "own", True, 2.0)
    assert acme.users["acme-app"].access == "write"
    assert acme.users["acme-dashboard"].password_file is None
    assert (acme.limits.points_per_second, acme.limits.stored_points) == (100.0, None)
    assert (beta.storage, beta.own_lane) == ("shared", False)
    assert found.shared_of("beta").keys() == {"notes"}


def test_shared_tenants_without_a_list_have_all_shared_collections() -> None:
    found = parse('generation = 1\n[shared.a]\nsize = 2\n[shared.b]\nsize = 2\n[tenants.t]\nstorage = "shared"\n')
    assert found.shared_of("t").keys() == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("generation", ["not TOML"]),
        ("", ["generation: "]),
        ("generation = 0", ["generation: "]),
        ("generation = 1.5", ["generation: "]),
        ("generation = 1\nextra = 2", ["extra: "]),
        ("generation = 1\ntenants = 3", ["tenants: expected a table"]),
        ("generation = 1\n[tenants.Acme]", ["[tenants.Acme]: "]),
        ('generation = 1\n[shared."acme.docs"]\nsize = 2\n[tenants.acme]', ['[shared."acme.docs"]: ']),
        ('generation = 1\n[tenants."a.b"]', ["[tenants.a.b]: "]),
        ("generation = 1\n[tenants.acme]\nstorage = 'mine'", ["[tenants.acme] storage: "]),
        ("generation = 1\n[tenants.acme]\nstorage = 'shared'", ["[tenants.acme] storage: "]),
        ("generation = 1\n[tenants.acme]\nweight = 0", ["[tenants.acme] weight: "]),
        ("generation = 1\n[tenants.acme]\ncollections = ['x']", ["[tenants.acme] collections: "]),
        (
            "generation = 1\n[shared.x]\nsize = 2\n[tenants.acme]\nstorage = 'shared'\ncollections = ['y']",
            ["[tenants.acme] collections: "],
        ),
        (
            "generation = 1\n[tenants.acme.limits]\npoints_per_second = 'x'\nfoo = 1",
            ["[tenants.acme.limits] points_per_second: ", "[tenants.acme.limits] foo: "],
        ),
        ("generation = 1\n[tenants.acme.limits]\nconcurrency = 0", ["[tenants.acme.limits] concurrency: "]),
        (
            "generation = 1\n[tenants.acme]\nlane = 'shared'\nlimits = {points_per_second = 1}",
            ["[tenants.acme] lane: "],
        ),
        ("generation = 1\n[tenants.acme.users.'x y']", ["[tenants.acme.users.x y]: "]),
        ("generation = 1\n[tenants.acme.users.u]\naccess = 'all'", ["[tenants.acme.users.u] access: "]),
        ("generation = 1\n[tenants.a.users.u]\n[tenants.b.users.u]", ["[tenants.b.users.u]: "]),
        ("generation = 1\n[shared.x]\nsize = 0\n[shared.y]", ["[shared.x] size: ", "[shared.y]: "]),
    ],
)
def test_every_mistake_names_table_and_field(text: str, places: list[str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(text)
    lines = str(refused.value).splitlines()
    assert len(lines) == len(places)
    for line, place in zip(lines, places, strict=True):
        assert line.startswith(place), line


def test_files_that_mean_the_same_have_one_digest() -> None:
    assert parse(WHOLE).digest == parse("# a comment\n" + WHOLE.replace("weight = 2", "weight = 2.0")).digest
    assert parse(WHOLE).digest != parse(WHOLE.replace("weight = 2", "weight = 3")).digest
