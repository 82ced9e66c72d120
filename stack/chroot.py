"""RabbitMQ of another version, out of a Debian tree that `scripts/brokers` has made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
EPMD = Path("/usr/bin/epmd")

# What is mounted is seen by this process and its children alone, and is gone with the last of them.
ENTER = """\
set -e
PATH=$PATH:/usr/sbin:/sbin
root=$1 directory=$2
shift 2
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root$directory"
mount --bind "$directory" "$root$directory"
exec chroot "$root" "$@"
"""


def problem(root: Path) -> str | None:
    """Why no broker can be started from `root`; None if one can."""
    if not (root / SERVER.relative_to("/")).exists():
        return f"{root} has no {SERVER}: prepare it with scripts/brokers"
    if os.geteuid() != 0:
        return "only root may enter a chroot"
    missing = [
        program
        for program in ("unshare", "chroot")
        if shutil.which(program, path=f"{os.defpath}:/usr/sbin:/sbin") is None
    ]
    return f"{' and '.join(missing)} not found" if missing else None


def entered(root: Path, directory: Path, args: Sequence[str]) -> list[str]:
    """The command that runs `args` in `root`, where `directory` is found under the same name."""
    return [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        ENTER,
        "enter",
        str(root),
        str(directory),
        *args,
    ]
