"""Pin the base images of the Dockerfile and of the compose file by digest: python -m stack.digests [FILE …]

Asks the registry of each image for the digest of its tag, and writes `name:tag@sha256:…`. Images that have a digest are
asked for again, so that running it once more is the update.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, urlencode

ROOT = Path(__file__).resolve().parent.parent
FILES = (ROOT / "worker/Dockerfile", ROOT / "docker-compose.yml")
IMAGE = re.compile(
    r"(?m)^(?P<before>FROM |\s*image:\s*)(?P<name>[a-z0-9][\w./-]*):(?P<tag>[\w.-]+)"
    r"(?:@sha256:[0-9a-f]{64})?(?P<after>.*)$"
)
# A registry that wants a token says where to get one.
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
SECONDS = 30
OURS = "memq-worker"


class NoDigest(RuntimeError):
    """The registry gave no digest; the text says why."""


def digest(name: str, tag: str, registry: str | None = None) -> str:
    """Return the digest of a tag. Raises NoDigest.

    registry: address of the registry; None for the one that the image's name begins with.
    """
    host, _, path = name.partition("/")
    repository = name if "/" in name else f"library/{name}"
    if registry is None:
        if not path or not ("." in host or ":" in host):
            raise NoDigest(f"{name}:{tag}: the name has no registry; give its address with --registry")
        registry, repository = f"https://{host}", path
    try:
        found = _asked(f"{registry}/v2/{repository}/manifests/{quote(tag)}")
    except (OSError, ValueError, KeyError) as error:
        raise NoDigest(f"{name}:{tag}: {getattr(error, 'reason', error)}") from None
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", found):
        raise NoDigest(f"{name}:{tag}: the registry named no digest")
    return found


def _asked(url: str, **headers: str) -> str:
    """Return the digest of the manifest at `url`, with the token that the registry asks for; empty if it has none."""
    request = urllib.request.Request(url, headers={"Accept": ACCEPT, **headers}, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return str(answer.headers.get("Docker-Content-Digest", ""))
    except urllib.error.HTTPError as error:
        with error:
            if error.code != 401 or headers:
                raise
            challenge = dict(CHALLENGE.findall(error.headers.get("WWW-Authenticate", "")))
    realm = challenge.pop("realm")
    with urllib.request.urlopen(f"{realm}?{urlencode(challenge)}", timeout=SECONDS) as answer:
        return _asked(url, Authorization=f"Bearer {json.load(answer)['token']}")


def pinned(text: str, registry: str | None = None) -> str:
    """Return the text with every image by digest. Raises NoDigest."""

    def one(match: re.Match[str]) -> str:
        name, tag = match["name"], match["tag"]
        if name == OURS:
            return match[0]
        return f"{match['before']}{name}:{tag}@{digest(name, tag, registry)}{match['after']}"

    return IMAGE.sub(one, text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m stack.digests", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--registry", help="address of the registry to ask; needed for names without one")
    parser.add_argument("files", nargs="*", type=Path, default=FILES)
    given = parser.parse_args(arguments)
    try:
        texts = {path: pinned(path.read_text("utf-8"), given.registry) for path in given.files}
    except NoDigest as error:
        sys.stderr.write(f"memq: {error}; nothing written\n")
        return 1
    for path, text in texts.items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
