# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which recorded dataset properties come back with a restore. A manifest is data from outside: only what cannot
mount, share, execute or hide anything is re-applied."""

from __future__ import annotations

from collections.abc import Mapping

RESTORABLE = frozenset(
    {
        "aclinherit",
        "aclmode",
        "acltype",
        "atime",
        "checksum",
        "compression",
        "copies",
        "dnodesize",
        "logbias",
        "primarycache",
        "quota",
        "recordsize",
        "redundant_metadata",
        "refquota",
        "relatime",
        "secondarycache",
        "snapdir",
        "special_small_blocks",
        "sync",
        "xattr",
    }
)
_FILESYSTEM_ONLY = frozenset(
    {"aclinherit", "aclmode", "acltype", "atime", "quota", "recordsize", "refquota", "relatime", "snapdir", "xattr"}
)


_ACTING_USER_PROPERTIES = ("org.openzfs.systemd:", "zrb:")
"""Prefixes of user properties that a program obeys: which datasets are mounted at boot and what then starts, or what
this engine may destroy."""


def restorable_properties(properties: Mapping[str, str], *, volume: bool) -> dict[str, str]:
    """Those of ``properties`` that are set again after a restore, most user properties (with a colon) among them."""
    return {
        name: value
        for name, value in sorted(properties.items())
        if (":" in name and not name.startswith(_ACTING_USER_PROPERTIES))
        or (name in RESTORABLE and not (volume and name in _FILESYSTEM_ONLY))
    }
