# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the keys of objects before they reach a file system or an endpoint."""

from __future__ import annotations

import re

from ..errors import IntegrityError

_COMPONENT = re.compile(r"[A-Za-z0-9._%-]{1,255}")


def check_key(key: str) -> str:
    """Return ``key`` if it is one that the format allows: components of ``A-Za-z0-9._-%`` joined by single
    slashes, none of them ``.`` or ``..``. Raises :class:`IntegrityError` otherwise."""
    components = key.split("/")
    if all(_COMPONENT.fullmatch(part) and part not in {".", ".."} for part in components):
        return key
    raise IntegrityError(
        f"{key!r} is not a key of a repository",
        subject=key,
        next_step="Keys have only A-Z a-z 0-9 . _ - % and single slashes: find out where this key comes from, "
        "and do not trust the manifest that names it",
    )


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if it is empty or begins a key; it may end with a slash. Raises :class:`IntegrityError`."""
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix
