# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns the stderr of ``zfs`` and ``zpool`` into a typed error that says what the user should do next.

The phrases are those of OpenZFS' lib/libzfs (libzfs_util.c, libzfs_sendrecv.c) and of zfs-fuse, both with
``LC_ALL=C``.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..errors import (
    EngineError,
    NoSuchDataset,
    NoSuchPool,
    NoSuchSnapshot,
    TargetExists,
    ZfsDenied,
    ZfsError,
    ZfsMissing,
    ZfsUnable,
)
from .child_processes import Ended

ANSWER_BYTES: Final = 4000
"""How much of the end of a command's stderr an error quotes. The cause is there."""


@dataclass(frozen=True, slots=True)
class _Cause:
    phrase: re.Pattern[str]
    error: type[ZfsError] | None
    """``None``: the error of the operation that failed."""
    next_step: str


def _cause(phrase: str, error: type[ZfsError] | None, next_step: str) -> _Cause:
    return _Cause(re.compile(phrase, re.IGNORECASE), error, next_step)


START_ZFS: Final = (
    "Load the kernel module with `modprobe zfs` (OpenZFS) or start the daemon `zfs-fuse` as root, then try again"
)

_DENIED: Final = re.compile(
    r"permission denied|must be run as root|insufficient privileges|operation not permitted", re.IGNORECASE
)

_CAUSES: Final = (
    _cause(
        r"ZFS modules|zfs-fuse daemon|/dev/zfs and /proc|failed to initialize (the libzfs|ZFS) library",
        ZfsMissing,
        START_ZFS,
    ),
    _cause(
        _DENIED.pattern,
        ZfsDenied,
        "Run this as root, or let root delegate the right to this user with `zfs allow`",
    ),
    _cause(
        r"suspended",
        None,
        "The pool lost its disks: see `zpool status`, bring them back, then `zpool clear` the pool",
    ),
    _cause(
        r"out of space|no space left|quota exceeded",
        None,
        "Free space or raise the quota (see `zfs list -o space`), then run the same again",
    ),
    _cause(
        r"destination '.*' (already )?exists|must specify -F to overwrite",
        TargetExists,
        "Choose a target that does not exist: a restore never overwrites a dataset",
    ),
    _cause(
        r"partially.complete state",
        None,
        "A stream was cut off there: go on with it by --continue, or give it up with `zfs receive -A`",
    ),
    _cause(
        r"has been modified",
        None,
        "Something changed the target after its last link was received. Roll it back to its newest snapshot with"
        " `zfs rollback`, keep it unmounted, and receive the link again",
    ),
    _cause(
        r"does not\s+match incremental source|does not have fromsnap",
        None,
        "The target does not have the snapshot that this link starts from: restore the chain from its beginning"
        " into a new target",
    ),
    _cause(
        r"IV set guid|requires -[Lw]|key must be loaded|key not loaded|raw encrypted",
        None,
        "All links of a chain need the same flags, and encrypted ones are sent raw or with their key loaded: see"
        " `zfs get encryption,keystatus`, load the key with `zfs load-key`, or start a new chain with level 0",
    ),
    _cause(
        r"unsupported|must be upgraded to receive|not supported",
        ZfsUnable,
        "Use a ZFS at least as new as the one that made the backup, and a pool with its features enabled"
        " (`zpool upgrade`)",
    ),
    _cause(
        r"invalid (backup )?stream|checksum mismatch|incomplete stream|failed to read from stream",
        None,
        "The stream was cut short or damaged, and nothing of it was kept: check the backup with `zrb verify`",
    ),
    _cause(
        r"not an earlier snapshot|is not earlier than|not an ancestor",
        None,
        "The base is not an earlier snapshot of the same dataset: run level 0 to start a new chain",
    ),
    _cause(
        r"(dataset|snapshot|bookmark) (already )?exists",
        None,
        "The name is taken: see `zfs list -t all`, and use another name",
    ),
    _cause(
        r"is busy|being held|has dependent clones|has children",
        None,
        "Something still uses it: look at `zfs list -t all -r` for datasets and snapshots below it, at `zfs holds`"
        " for holds, and for a running send or receive",
    ),
    _cause(
        r"I/O error|input/output error|corrupt|currently unavailable",
        None,
        "Check `zpool status -v` for damaged data and failing disks before the next try",
    ),
    _cause(
        r"does not exist|no such pool",
        None,
        "The dataset, snapshot or bookmark is gone: see `zfs list -t all`; if a base is missing, run level 0",
    ),
)

_IN_USE: Final = re.compile(r"is busy|being held|has dependent clones", re.IGNORECASE)
_GONE: Final = re.compile(r"does not exist|no such (pool|dataset)|could not find any snapshots", re.IGNORECASE)


def says_gone(stderr: str) -> bool:
    """Whether a command failed because the object that it names does not exist."""
    return bool(_GONE.search(stderr))


def says_in_use(stderr: str) -> bool:
    """Whether a snapshot could not be destroyed because a hold, a clone or a running send needs it."""
    return bool(_IN_USE.search(stderr))


def says_denied(stderr: str) -> bool:
    """Whether a command failed because this user has not been delegated a right."""
    return bool(_DENIED.search(stderr))


def allow_command(rights: str, name: str) -> str:
    """The command with which root delegates ``rights`` to this user, for the dataset of ``name`` and all below it."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    dataset = re.split("[@#]", name)[0]
    return shlex.join(["zfs", "allow", "-u", user, rights, dataset])


def zfs_failure(
    ended: Ended,
    *,
    problem: str,
    subject: str,
    otherwise: type[EngineError] = ZfsError,
    next_step: str = "Check `zpool status`, then run the same again",
    always: bool = False,
) -> EngineError:
    """The error for a command that ended with a status other than 0.

    If stderr tells the cause, its class is that of the cause, else ``otherwise``. With ``always``, the class is always
    ``otherwise``, and the cause decides only the next step.
    """
    cause = next((cause for cause in _CAUSES if cause.phrase.search(ended.stderr)), None)
    kind: type[EngineError] = (cause.error if cause else None) or otherwise
    return (otherwise if always else kind)(
        f"{problem} ({how_it_ended(ended.status)})",
        subject=subject,
        answer=quoted(ended.stderr),
        next_step=cause.next_step if cause else next_step,
    )


def missing_object(name: str, problem: str, *, answer: str, pool_exists: Callable[[str], bool]) -> EngineError:
    """The error for a pool, dataset or snapshot that does not exist."""
    pool = re.split(r"[/@#]", name, maxsplit=1)[0]
    if not pool_exists(pool):
        return NoSuchPool(
            f"{problem}: there is no pool {pool!r} on this machine",
            subject=pool,
            answer=answer,
            next_step="See `zpool list` for imported pools, and `zpool import` for those that can be imported",
        )
    if "@" in name or "#" in name:
        return NoSuchSnapshot(
            f"{problem}: {name!r} does not exist",
            subject=name,
            answer=answer,
            next_step=f"See `zfs list -t all -r {re.split('[@#]', name)[0]}` for what exists",
        )
    return NoSuchDataset(
        f"{problem}: there is no dataset {name!r}",
        subject=name,
        answer=answer,
        next_step=f"See `zfs list -r {pool}` for the datasets that exist",
    )


def how_it_ended(status: int) -> str:
    """An exit status in words."""
    return f"killed by signal {-status}" if status < 0 else f"status {status}"


def quoted(stderr: str) -> str:
    """The end of a command's stderr on one line, because libzfs breaks lines within sentences."""
    return " ".join(line.strip() for line in stderr[-ANSWER_BYTES:].splitlines() if line.strip())
