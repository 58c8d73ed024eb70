# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import UsageError
from zrb.zfs import names

GOOD_DATASETS = ["tank", "tank/a", "tank/a b/c.d_e:f-g", "tank/-a", "t/" + "x" * 253]
BAD_DATASETS = {
    "": "it is empty",
    "/": "it is empty",
    "/tank": "it is empty",
    "1tank": "begins with a letter",
    "-tank": "begins with a letter",
    "tank ": "begins with a letter",
    "tank/": "a part of it is empty",
    "tank//a": "a part of it is empty",
    "tank/./a": "'.' cannot be a part",
    "tank/..": "'..' cannot be a part",
    "tank/a%recv": "has characters other than",
    "tank/ä": "has characters other than",
    "tank/a\nb": "has characters other than",
    "tank/a\n": "has characters other than",
    "tank/a@b": "has characters other than",
    "tank/a#b": "has characters other than",
    "tank/a\0": "has characters other than",
    "t/" + "x" * 254: "longer than 255 bytes",
    "x" * 256: "longer than 255 bytes",
    "tank/\udcff": "has characters other than",
}


@pytest.mark.parametrize("name", GOOD_DATASETS)
def test_names_that_zfs_takes(name: str) -> None:
    assert names.check_dataset_name(name) == name
    assert names.check_any_name(name) == name


@pytest.mark.parametrize(("name", "fault"), BAD_DATASETS.items())
def test_names_that_zfs_would_not_take(name: str, fault: str) -> None:
    with pytest.raises(UsageError) as failure:
        names.check_dataset_name(name)
    assert fault in failure.value.problem
    assert failure.value.subject == name
    assert failure.value.exit_code == 2


@pytest.mark.parametrize(("check", "mark"), [(names.check_snapshot_name, "@"), (names.check_bookmark_name, "#")])
def test_snapshots_and_bookmarks(check: Callable[[str], str], mark: str) -> None:
    good = f"tank/a{mark}zrb_level0_20260101T000000Z"
    assert check(good) == names.check_any_name(good) == names.check_base_name(good) == good
    for bad in (f"tank/a{mark}", f"{mark}a", f"-a{mark}b", f"tank/a{mark}b{mark}c", f"tank/a{mark}b/c", f"tank{mark}%"):
        with pytest.raises(UsageError):
            check(bad)
        with pytest.raises(UsageError):
            names.check_base_name(bad)
    with pytest.raises(UsageError, match=f"no {mark}"):
        check("tank/a")
    with pytest.raises(UsageError, match="255 bytes"):
        check(f"tank/a{mark}" + "x" * 250)


def test_a_dataset_is_no_base() -> None:
    with pytest.raises(UsageError, match="no @"):
        names.check_base_name("tank/a")


def test_pools() -> None:
    assert names.check_pool_name("tank") == "tank"
    for bad in ("tank/a", "tank@a", "", "-f", "x" * 256):
        with pytest.raises(UsageError, match="ZFS pool"):
            names.check_pool_name(bad)


def test_tags() -> None:
    assert names.check_hold_tag("zrb:daily") == "zrb:daily"
    for bad in ("", "-r", ".hidden", "a b", "a\tb", "x" * 256):
        with pytest.raises(UsageError, match="hold tag"):
            names.check_hold_tag(bad)


def test_properties() -> None:
    for good in ("canmount", "org.zrb:note", "com.sun:auto-snapshot", "userquota"):
        assert names.check_property_name(good) == good
    for bad in ("", "-r", "a=b", "A", "a b", "x" * 256):
        with pytest.raises(UsageError, match="property name"):
            names.check_property_name(bad)


@given(st.text())
def test_nothing_that_passes_looks_like_an_option_or_another_word(name: str) -> None:
    for check in (names.check_any_name, names.check_pool_name, names.check_hold_tag, names.check_property_name):
        try:
            passed = check(name)
        except UsageError:
            continue
        assert passed == name
        assert not passed.startswith("-")
        assert not set(passed) & set("\n\t\0")
        assert len(passed.encode()) <= 255
