# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The versions of the runtime on this host, each a virtual environment in ``PATH/versions/NAME``.

A version counts once it holds the file ``complete``, and is never changed after that. Whatever changes the set of
versions has the lock of PATH, so two controllers never build or remove the same one. Prints what it did as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

IMPORTED = ("bitmath", "blake3", "boto3", "cryptography", "jmespath", "rich", "yaml", "zrb.command")
"""What has to load before a version counts: wheels of another platform may install and not load."""

STAGING_KEPT_S = 86400
_TAIL_LINES = 15


def build(path: Path, name: str, archive: Path, *, index_url: str, offline: bool) -> bool:
    """Make the version ``name`` of what is in ``archive``; whether it was not there."""
    version = path / "versions" / name
    marker = version / "complete"
    with locked(path):
        if marker.exists():
            return False
        remove_tree(version)
        run([sys.executable, "-m", "venv", str(version)], remedy="Is there space, and is venv installed?")
        with tempfile.TemporaryDirectory(dir=path, prefix="staging.") as staging:
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(staging)
            install(version / "bin/python", Path(staging), index_url=index_url, offline=offline)
        with marker.open("w", encoding="utf-8") as file:
            file.flush()
            os.fsync(file.fileno())
    return True


def install(python: Path, wheels: Path, *, index_url: str, offline: bool) -> None:
    """Let the pip of ``python`` install the requirements in ``wheels``, and see that everything loads."""
    index = ["--no-index"] if offline else ["--index-url", index_url] if index_url else []
    run(
        [
            *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
            *("--no-cache-dir", "--only-binary", ":all:", "--require-hashes", *index),
            *("--find-links", str(wheels), "--requirement", str(wheels / "requirements.txt")),
        ],
        remedy=(
            f"This host needs wheels for Python {platform.python_version()} on {platform.machine()}. "
            "If it reaches no package index, fill runtime_wheelhouse with them; otherwise see runtime_index_url"
        ),
    )
    run(
        [str(python), "-c", f"import {', '.join(IMPORTED)}"],
        remedy="The libraries do not load here: are they those of this platform?",
    )


def prune(path: Path, keep: str, *, check: bool) -> list[str]:
    """Remove all versions but ``keep``, the current one, and those that a process uses; which."""
    versions = path / "versions"
    if not versions.is_dir():
        return []
    with locked(path):
        kept = {keep, Path(os.path.realpath(path / "current")).name}
        unused = [each for each in sorted(versions.iterdir()) if each.name not in kept and not users_of(each)]
        left = [each for each in path.glob("staging.*") if time.time() - each.stat().st_mtime > STAGING_KEPT_S]
        if not check:
            for each in [*unused, *left]:
                remove_tree(each)
        return [each.name for each in [*unused, *left]]


def remove(path: Path, command: str, *, check: bool) -> list[str]:
    """Remove everything that the role made in ``path``, and the link ``command`` if it leads there; what."""
    made = [each for each in (path / "current", path / "versions", *path.glob("staging.*")) if os.path.lexists(each)]
    link = Path(command)
    if command and link.is_symlink() and link.readlink() == path / "current/bin/zrb":
        made.insert(0, link)
    if check or not made:
        return [str(each) for each in made]
    with locked(path):
        for version in sorted((path / "versions").glob("*")):
            if pids := users_of(version):
                raise SystemExit(
                    f"{version} is in use by process {', '.join(map(str, pids))}. Nothing was removed. "
                    "Wait until the run has ended, or stop it, and run this again."
                )
        for each in made:
            if each.is_symlink():
                each.unlink()
            else:
                remove_tree(each)
        (path / ".lock").unlink()
    with contextlib.suppress(OSError):  # something of somebody else is in it
        path.rmdir()
    return [str(each) for each in made]


def users_of(version: Path) -> list[int]:
    """Processes that run with this version: it stands in their command line, or they have loaded a library of it."""
    places = {os.fsencode(f"{place}/") for place in (version, os.path.realpath(version))}
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has ended, or is a kernel thread
            known = (process / "cmdline").read_bytes() + (process / "maps").read_bytes()
            if any(place in known for place in places):
                found.append(int(process.name))
    return sorted(found)


def remove_tree(place: Path) -> None:
    """Remove a version, its marker first: whoever is killed meanwhile leaves none that counts. Or an archive."""
    if place.is_dir():
        (place / "complete").unlink(missing_ok=True)
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One at a time; a process that dies lets go."""
    with (path / ".lock").open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(command: list[str], *, remedy: str) -> None:
    """Run a command that is quiet unless it fails."""
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = "\n".join((ended.stdout + ended.stderr).strip().splitlines()[-_TAIL_LINES:])
        raise SystemExit(f"{' '.join(command[:4])} ended with status {ended.returncode}:\n{said}\n{remedy}.")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True)
    commands = parser.add_subparsers(dest="command_name", required=True)
    building = commands.add_parser("build")
    building.add_argument("--name", required=True)
    building.add_argument("--archive", type=Path, required=True)
    building.add_argument("--index-url", default="")
    building.add_argument("--offline", action="store_true")
    pruning = commands.add_parser("prune")
    pruning.add_argument("--keep", required=True)
    removing = commands.add_parser("remove")
    removing.add_argument("--command", default="")
    for command in (pruning, removing):
        command.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.command_name == "build":
        done: bool | list[str] = build(
            options.path, options.name, options.archive, index_url=options.index_url, offline=options.offline
        )
    elif options.command_name == "prune":
        done = prune(options.path, options.keep, check=options.check)
    else:
        done = remove(options.path, options.command, check=options.check)
    print(json.dumps({"changed": bool(done), "removed": done if isinstance(done, list) else []}))


if __name__ == "__main__":
    main()
