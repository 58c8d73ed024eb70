# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which properties of a manifest are set again: a manifest is data, and some properties act."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.plan.restored_properties import RESTORABLE, restorable_properties

ACTING = [
    "mountpoint",
    "canmount",
    "sharenfs",
    "sharesmb",
    "exec",
    "setuid",
    "devices",
    "overlay",
    "zoned",
    "jailed",
    "readonly",
    "keylocation",
    "encryption",
    "volsize",
    "reservation",
    "refreservation",
    "mlslabel",
    "context",
    "nbmand",
    "vscan",
    "version",
    "org.openzfs.systemd:required-by",
    "org.openzfs.systemd:ignore",
    "zrb:received-by",
    "zrb:",
]


@pytest.mark.parametrize("name", ACTING)
def test_what_mounts_shares_executes_or_hides_is_never_set(name: str) -> None:
    for volume in (False, True):
        assert restorable_properties({name: "x"}, volume=volume) == {}


def test_what_a_filesystem_gets_back() -> None:
    recorded = {"recordsize": "1048576", "compression": "zstd", "mountpoint": "/etc", "org.example:owner": "täglich"}
    assert restorable_properties(recorded, volume=False) == {
        "compression": "zstd",
        "org.example:owner": "täglich",
        "recordsize": "1048576",
    }


def test_a_volume_gets_nothing_that_it_does_not_have() -> None:
    recorded = {"recordsize": "131072", "quota": "5", "xattr": "sa", "compression": "lz4", "sync": "always"}
    assert restorable_properties(recorded, volume=True) == {"compression": "lz4", "sync": "always"}


@given(st.dictionaries(st.text(max_size=12) | st.sampled_from([*ACTING, *RESTORABLE, "a:b"]), st.text()), st.booleans())
def test_nothing_else_is_set_and_no_value_changes(recorded: dict[str, str], volume: bool) -> None:
    restored = restorable_properties(recorded, volume=volume)
    assert set(restored.items()) <= set(recorded.items())
    assert all(name in RESTORABLE or ":" in name for name in restored)
    assert list(restored) == sorted(restored)
    if not volume:
        assert set(recorded) & RESTORABLE <= set(restored)
