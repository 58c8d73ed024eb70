# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Part counts: exact, and refused or warned about before a month of uploading, not after it."""

from __future__ import annotations

import pytest
from zrb.errors import UsageError
from zrb.plan.parts import check_part_count, count_parts

TIB = 1 << 40
MIB = 1 << 20
KEY = "data/nas1/tank/data/level0/20260131T020000Z-L0-5d41402a/snapshot.part-000000.age"


@pytest.mark.parametrize(("stream", "count"), [(1, 1), (99, 1), (100, 1), (101, 2), (1000, 10)])
def test_every_started_part_counts(stream: int, count: int) -> None:
    assert count_parts(stream, 100) == count


def test_forty_tebibytes_fit_with_the_default_part_size() -> None:
    warning = check_part_count(40 * TIB, 256 * MIB, key=KEY)
    assert "about 163840 parts" in warning
    assert "part_size of 4096MiB" in warning


def test_an_ordinary_stream_is_not_talked_about() -> None:
    assert check_part_count(4 * TIB, 256 * MIB, key=KEY) == ""


def test_what_no_manifest_can_hold_is_refused_at_the_start() -> None:
    with pytest.raises(UsageError, match=r"Set part_size to 4096MiB in the configuration"):
        check_part_count(40 * TIB, 16 * MIB, key=KEY)
