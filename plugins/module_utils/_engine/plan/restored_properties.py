# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides which recorded properties a restore sets again. A manifest comes from outside, so a restore leaves out all
that can mount, share, execute or hide anything."""

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
"""Prefixes of user properties that programs obey: they decide what is mounted or started at boot, or what this engine
may destroy."""


def restorable_properties(properties: Mapping[str, str], *, volume: bool) -> dict[str, str]:
    """The ``properties`` to set again after a restore, including most user properties (those with a colon)."""
    return {
        name: value
        for name, value in sorted(properties.items())
        if (":" in name and not name.startswith(_ACTING_USER_PROPERTIES))
        or (name in RESTORABLE and not (volume and name in _FILESYSTEM_ONLY))
    }
