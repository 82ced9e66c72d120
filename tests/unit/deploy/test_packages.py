"""Contents and metadata of the packages, and the images' digests."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import tomllib
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stack import digests
from tests.support.git import git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
URL = "https://example.org/memq"


def build(kind: str, source: Path, target: Path, **variables: str) -> Path:
    line = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    subprocess.run(line, cwd=source, env={"PATH": os.defpath, **variables}, capture_output=True, check=True)
    (built,) = target.iterdir()
    return built


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as packed:
        name = next(name for name in packed.namelist() if name.endswith("/METADATA"))
        return email.message_from_string(packed.read(name).decode())


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, from the tracked files."""
    folder = tmp_path_factory.mktemp("sdist")
    for name in git("ls-files", "--cached", "--others", "--exclude-standard").stdout.decode().splitlines():
        if (ROOT / name).is_file():
            (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "tree" / name)
    with tarfile.open(build("sdist", folder / "tree", folder / "dist")) as packed:
        packed.extractall(folder / "out", filter="data")
    (top,) = (folder / "out").iterdir()
    return top


def test_the_source_distribution_has_the_packages_and_no_strays(unpacked: Path) -> None:
    wanted = {Path(name) for name in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]}
    wanted |= {Path(".gitignore"), Path("PKG-INFO"), Path("pyproject.toml")}
    for file in filter(Path.is_file, unpacked.rglob("*")):
        name = file.relative_to(unpacked)
        assert wanted & {name, *name.parents}, f"{name} is a stray"
        assert "__pycache__" not in name.parts
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert all((unpacked / package / "__init__.py").is_file() for package in packages)


def test_a_wheel_of_the_source_distribution_has_links_only_with_an_address(unpacked: Path, tmp_path: Path) -> None:
    plain = metadata(build("wheel", unpacked, tmp_path / "plain"))
    assert plain.get_all("Project-URL") is None
    assert "](docs/" in plain.get_payload()
    linked = metadata(build("wheel", unpacked, tmp_path / "linked", PROJECT_URL=f"{URL}/"))
    links = linked.get_all("Project-URL") or []
    assert {link.partition(", ")[0] for link in links} == {"Source", "Documentation", "Changelog", "Issues"}
    targets = re.findall(r"\]\(([^)]+)\)", str(linked.get_payload()))
    assert targets
    assert all(target.startswith(("https://", "http://", "#")) for target in targets)


def test_the_tools_of_developers_are_groups_and_no_extras() -> None:
    assert {"dev", "peers"} <= PROJECT["dependency-groups"].keys()
    assert {"dev", "peers"}.isdisjoint(PROJECT["project"]["optional-dependencies"])


@contextmanager
def registry() -> Iterator[str]:
    """Serve the digests of images: of the tag `lost` none."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # The token of the challenge, for its scope.
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"token": "t1"}' if self.path == "/token?service=here&scope=pull" else b"{}")

        def do_HEAD(self) -> None:
            if "/secret" in self.path and self.headers["Authorization"] != "Bearer t1":
                realm = f"http://{self.headers['Host']}/token"
                self.send_response(401)
                self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="here",scope="pull"')
                self.end_headers()
                return
            self.send_response(200 if re.fullmatch(r"/v2/[\w./-]+/manifests/[\w.-]+", self.path) else 404)
            if not self.path.endswith("/lost"):
                self.send_header("Docker-Content-Digest", f"sha256:{'ab' * 32}")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_base_images_are_pinned_by_digest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copies = [tmp_path / path.name for path in digests.FILES]
    for path, copy in zip(digests.FILES, copies, strict=True):
        shutil.copy(path, copy)
    with registry() as url:
        for _ in range(2):
            assert digests.main(["--registry", url, *map(str, copies)]) == 0
            for path, copy in zip(digests.FILES, copies, strict=True):
                lines = [line for line in copy.read_text().splitlines() if re.match(r"FROM |\s*image:", line)]
                assert lines
                assert all(line.count("@sha256:") == ("memq-worker" not in line) for line in lines)
                assert copy.read_text().replace(f"@sha256:{'ab' * 32}", "") == path.read_text()
        copies[0].write_text("FROM python:lost\n")
        assert digests.main(["--registry", url, *map(str, copies)]) == 1
    assert "python:lost: the registry named no digest; nothing written" in capsys.readouterr().err
    assert copies[0].read_text() == "FROM python:lost\n"


def test_a_registry_that_asks_for_a_token_gets_one(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM secret/base:1\n")
    with registry() as url:
        assert digests.main(["--registry", url, str(tmp_path / "Dockerfile")]) == 0
    assert (tmp_path / "Dockerfile").read_text() == f"FROM secret/base:1@sha256:{'ab' * 32}\n"


def test_an_image_without_a_registry_needs_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.11\n")
    assert digests.main([str(tmp_path / "Dockerfile")]) == 1
    assert "--registry" in capsys.readouterr().err
