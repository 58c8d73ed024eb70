# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Strict checks of names before they reach a command line.

The rules are those of OpenZFS' module/zcommon/zfs_namecheck.c. ZFS accepts every name that passes here, and cannot take
it for an option.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from ..errors import UsageError
from ..values.config import Task
from ..values.repository_names import check_level

MAX_NAME_BYTES: Final = 255
"""ZFS_MAX_DATASET_NAME_LEN without its final zero byte."""

TAKEN_AS: Final = "zrb:taken-as"
"""The user property with which zrb marks each snapshot that it takes, in the moment in which it takes it."""

_POOL: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.: -]*")
_COMPONENT: Final = re.compile(r"[A-Za-z0-9_.: -]+")
_TAG: Final = re.compile(r"[^-.\s\x00][^\s\x00]*")
_PROPERTY: Final = re.compile(r"[a-z0-9][a-z0-9:_.+-]*")


def taken_as(short_name: str) -> str:
    """What :data:`TAKEN_AS` says of a snapshot that still has this name: all but its level, which is all that the names
    of snapshots of one instant differ in."""
    return re.sub(r"_level[0-4]_", "_level*_", short_name)


def check_pool_name(name: str) -> str:
    """``name`` if it is a pool's name, else ``UsageError``."""
    return _checked(name, "pool", _pool_fault(name))


def check_dataset_name(name: str) -> str:
    """``name`` if it is the full name of a filesystem or volume, else ``UsageError``."""
    return _checked(name, "dataset", _dataset_fault(name))


def check_snapshot_name(name: str) -> str:
    """``name`` if it is the full name of a snapshot (``pool/dataset@snapshot``), else ``UsageError``."""
    return _checked(name, "snapshot", _point_fault(name, "@"))


def check_bookmark_name(name: str) -> str:
    """``name`` if it is the full name of a bookmark (``pool/dataset#bookmark``), else ``UsageError``."""
    return _checked(name, "bookmark", _point_fault(name, "#"))


def check_any_name(name: str) -> str:
    """``name`` if it names a dataset, a snapshot or a bookmark, else ``UsageError``."""
    if "@" in name:
        return check_snapshot_name(name)
    if "#" in name:
        return check_bookmark_name(name)
    return check_dataset_name(name)


def check_base_name(name: str) -> str:
    """``name`` if an incremental can start from it: a snapshot or a bookmark, else ``UsageError``."""
    return check_bookmark_name(name) if "#" in name else check_snapshot_name(name)


def check_hold_tag(tag: str) -> str:
    """``tag`` if it can be the tag of a hold, else ``UsageError``."""
    fault = "" if _TAG.fullmatch(tag) and _fits(tag) else "it is empty, too long, has a space or begins with - or ."
    return _checked(tag, "hold tag", fault)


def check_property_name(name: str) -> str:
    """``name`` if it can be a native or user property, else ``UsageError``."""
    fault = "" if _PROPERTY.fullmatch(name) and _fits(name) else "it has other characters than a-z 0-9 : _ . + -"
    return _checked(name, "property name", fault)


def _checked(name: str, kind: str, fault: str) -> str:
    if fault:
        raise UsageError(
            f"{name!r} is not a ZFS {kind}: {fault}",
            next_step="Correct the name; `zfs list -t all` shows the names that exist",
            subject=name,
        )
    return name


def _fits(name: str) -> bool:
    return len(name.encode(errors="surrogatepass")) <= MAX_NAME_BYTES


def _pool_fault(name: str) -> str:
    if not name:
        return "it is empty"
    if not _fits(name):
        return f"it is longer than {MAX_NAME_BYTES} bytes"
    if not _POOL.fullmatch(name) or name != name.rstrip():
        return "the name of a pool begins with a letter, and then has only letters, digits and _ . : -"
    return ""


def _dataset_fault(name: str) -> str:
    if not _fits(name):
        return f"it is longer than {MAX_NAME_BYTES} bytes"
    pool, *rest = name.split("/")
    return _pool_fault(pool) or next(filter(None, map(_component_fault, rest)), "")


def _point_fault(name: str, mark: str) -> str:
    dataset, found, point = name.partition(mark)
    if not found:
        return f"it has no {mark}"
    if not _fits(name):
        return f"it is longer than {MAX_NAME_BYTES} bytes"
    return _dataset_fault(dataset) or _component_fault(point)


def _component_fault(component: str) -> str:
    if not component:
        return "a part of it is empty"
    if component in {".", ".."}:
        return f"{component!r} cannot be a part of it"
    if not _COMPONENT.fullmatch(component):
        return f"{component!r} has characters other than letters, digits, space and _ . : -"
    return ""


def snapshot_name(task: Task, level: int, now: datetime) -> str:
    """``{prefix}_level{N}_{YYYYMMDDTHHMMSSZ}``, the part after the ``@``; ``now`` is in UTC."""
    return f"{task.snapshot_prefix}_level{check_level(level)}_{now:%Y%m%dT%H%M%SZ}"
