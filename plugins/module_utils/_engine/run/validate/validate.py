# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks whether a configuration will work on this machine: one result per check, with what to do.

A check never stops the later ones, so that the user sees all problems at once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from ...config.key_files import read_signing_key
from ...config.tasks import task_datasets
from ...errors import EngineError
from ...values.config import Config, Task
from ...values.zfs import Capabilities
from ..context import Context
from .check_result import Check, failed
from .repository import repository_checks

_IDENTITY_MARK = b"AGE-SECRET-KEY-"
_LARGEST_KEY_FILE = 64 * 1024


def validate_config(context: Context, *, offline: bool = False, config_path: Path | None = None) -> list[Check]:
    """Check keys, directories, ZFS and, unless ``offline``, the repository of the configuration.

    ``config_path`` is its file, to check the permissions and the files beside it.
    """
    groups: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("config", lambda: _file_checks(context.config, config_path)),
        ("recipients", lambda: _recipient_checks(context.config)),
        ("signing_key", lambda: _signing_checks(context)),
        ("directories", lambda: _directory_checks(context.config)),
        ("zfs", lambda: _zfs_checks(context)),
    ]
    if not offline:
        groups.append(("repository", lambda: repository_checks(context)))
    return [check for name, group in groups for check in _guarded(name, group)]


def exit_code(checks: list[Check]) -> int:
    """0, 4 if there are warnings, 2 if there are errors."""
    statuses = {check.status for check in checks}
    return 2 if "error" in statuses else 4 if "warning" in statuses else 0


def _guarded(name: str, group: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from group()
    except EngineError as error:
        yield failed(name, error)


def _file_checks(config: Config, path: Path | None) -> Iterator[Check]:
    if path is None:
        return
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        yield Check(
            "config", "error", f"{path} cannot be read: {error.strerror}", "Run this as the user of the backups"
        )
        return
    if mode & 0o077:
        yield Check("config", "warning", f"{path} can be read by others (mode {mode:04o})", f"Run `chmod 600 {path}`")
    else:
        yield Check("config", "ok", f"{path} is valid and private")
    found = sorted({found for place in (path.parent, Path(config.base_dir)) for found in _identities_in(place)})
    for identity in found:
        yield Check(
            "age_identity",
            "warning",
            f"{identity} holds a private age key: anyone who takes this machine can read all its backups",
            "Move it to the machine that restores, and keep a copy that survives both machines",
        )


def _identities_in(directory: Path) -> Iterator[Path]:
    try:
        for path in directory.iterdir():
            if path.is_file() and path.stat().st_size <= _LARGEST_KEY_FILE and _IDENTITY_MARK in path.read_bytes():
                yield path
    except OSError:  # it does not exist, or this user may not read it, nor may a thief with this user's rights
        return


def _recipient_checks(config: Config) -> Iterator[Check]:
    count = len(config.recipients)
    if count >= 2:
        yield Check("recipients", "ok", f"{count} age recipients")
    else:
        yield Check(
            "recipients",
            "warning",
            "There is only one age recipient: if its private key is lost, all backups are lost",
            "Add a second one to age_recipients, and keep its private key in another place (a safe, on paper)",
        )


def _signing_checks(context: Context) -> Iterator[Check]:
    if context.config.signing_key is None:
        yield Check(
            "signing_key",
            "error",
            "No signing_key is configured, so no backup can be made",
            "Make one with `zrb signing-key` and set signing_key to its file",
        )
    else:
        key = read_signing_key(Path(context.config.signing_key))
        yield Check("signing_key", "ok", f"{context.config.signing_key} signs as {key.public}")
    others = len(context.config.trusted_signers)
    if others:
        yield Check("trusted_signers", "ok", f"{others} configured")


def _directory_checks(config: Config) -> Iterator[Check]:
    for name, path in (("base_dir", Path(config.base_dir)), ("log_dir", Path(config.log_dir))):
        nearest = next((place for place in (path, *path.parents) if _is_seen(place)), path)
        if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
            made = "" if nearest == path else ", made at the first run"
            yield Check(name, "ok", f"{path} can be written{made}")
        else:
            yield Check(
                name,
                "error",
                f"{path} cannot be written: {nearest} is {'not writable' if nearest.is_dir() else 'no directory'}",
                f"Give this user the right to write there, or set {name} to another directory",
            )


def _is_seen(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # inside a directory that this user may not enter
        return False


def _zfs_checks(context: Context) -> Iterator[Check]:
    capabilities = context.zfs.capabilities
    yield Check("zfs", "ok", f"{capabilities.version} on {capabilities.platform} ({_abilities(capabilities)})")
    enabled = [task for task in context.config.tasks if task.enabled]
    if not enabled:
        yield Check("tasks", "warning", "No task is enabled", "Add a task, or set `enabled: true`")
    for task in enabled:
        yield from _guarded(f"task {task.name}", lambda task=task: _task_checks(context, task))  # type: ignore[misc]


def _abilities(capabilities: Capabilities) -> str:
    known = (
        ("large blocks", capabilities.send_large_blocks),
        ("compressed send", capabilities.send_compressed),
        ("raw send", capabilities.send_raw),
        ("estimates", capabilities.send_estimate),
        ("bookmarks", capabilities.bookmarks),
        ("encryption", capabilities.encryption),
    )
    return ", ".join(name if present else f"no {name}" for name, present in known)


def _task_checks(context: Context, task: Task) -> Iterator[Check]:
    context.zfs.pool(task.pool)
    names = task_datasets(context.zfs, task)
    name = f"task {task.name}"
    yield Check(name, "ok", f"{task.dataset_name} exists" + (f", {len(names)} datasets" if task.recursive else ""))
    encrypted = [dataset for dataset in names if context.zfs.dataset(dataset).encrypted]
    if (encrypted or task.raw == "always") and task.raw != "never" and not context.zfs.capabilities.send_raw:
        yield Check(
            name,
            "error",
            f"{', '.join(encrypted) or task.dataset_name} would be sent raw, but this ZFS cannot do that",
            "Set `raw: never` for this task, or use a ZFS with `send -w`",
        )
