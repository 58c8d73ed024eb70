# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image that all machines start from, built once for each version of its recipe."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.vm.testbed.places import CHECKOUT, cache_root, digest_of, forget_old, locked, mark_used, workplace

RECIPE = CHECKOUT / "tests/vm/image/build"


@dataclass(frozen=True)
class Image:
    """A built image: disk, kernel and initrd to boot it with, and the key that opens it."""

    directory: Path

    @property
    def disk(self) -> Path:
        """The root filesystem. Never written: machines have overlays."""
        return self.directory / "root.img"

    @property
    def kernel(self) -> Path:
        """Linux, for direct boot."""
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Its initial RAM disk."""
        return self.directory / "initrd"

    @property
    def private_key(self) -> Path:
        """Private SSH key of root on every machine of this image."""
        return self.directory / "key"

    @property
    def known_hosts(self) -> Path:
        """The machines' SSH host key, under the name ``testbed``."""
        return self.directory / "known_hosts"

    @property
    def name(self) -> str:
        """Changes with the recipe."""
        return self.directory.name.removeprefix("image-")

    def version_of(self, package: str) -> str:
        """The version of a Debian package in the image."""
        found = re.search(rf"^{re.escape(package)} (\S+)$", (self.directory / "versions.txt").read_text(), re.MULTILINE)
        if not found:
            raise RuntimeError(f"{package} is not in {self.directory / 'versions.txt'}")
        return found.group(1)


def ensure_image() -> Image:
    """The image of the present recipe; built where the cache has none, which takes minutes."""
    name = f"image-{digest_of(RECIPE.read_bytes())}"
    directory = cache_root() / name
    with locked("image"):
        if not directory.exists():
            _build(directory)
        mark_used(directory)
        forget_old("image-*", keep=[directory])
    return Image(directory)


def _build(directory: Path) -> None:
    with workplace("image") as scratch:
        built = scratch / "image"
        built.mkdir(mode=0o700)
        key = built / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "zrb-testbed", "-f", key], check=True)
        log = built / "build.log"
        print(f"Building the image (once, some minutes; log: {log})", flush=True)
        with log.open("wb") as output:
            # Should this process be killed, what it started is too: see the recipe's namespaces.
            build = ["setpriv", "--pdeathsig", "KILL", "nice", str(RECIPE), str(built), f"{key}.pub"]
            ended = subprocess.run(build, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
        if ended.returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
            raise RuntimeError(f"Building the image failed with status {ended.returncode}:\n{tail}")
        built.rename(directory)
