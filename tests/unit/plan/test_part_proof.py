# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Part counts: exact, and refused before a month of uploading, not after it. And what a checksum proves of a part."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import UsageError
from zrb.plan.part_proof import beside_listing, check_part_count, proves
from zrb.store.protocol import StoredObject
from zrb.values.manifest import Checksum
from zrb.values.part_list_json import count_parts

from tests.fixtures.sample_manifests import sample_manifest, sample_part

TIB = 1 << 40
MIB = 1 << 20


@pytest.mark.parametrize(("stream", "count"), [(1, 1), (99, 1), (100, 1), (101, 2), (1000, 10)])
def test_every_started_part_counts(stream: int, count: int) -> None:
    assert count_parts(stream, 100) == count


def test_what_keys_cannot_number_is_refused_at_the_start() -> None:
    check_part_count(10**6 * 16 * MIB, 16 * MIB)
    with pytest.raises(UsageError, match="part_size to 256MiB"):
        check_part_count(10**6 * 16 * MIB + 1, 16 * MIB)
    check_part_count(40 * TIB, 256 * MIB)


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_every_part_finds_what_a_listing_shows_of_it(parts: set[int], listed: set[int]) -> None:
    made = {index: sample_part(sample_manifest(), index, 1) for index in range(31)}
    items = [StoredObject(made[index].key, index) for index in sorted(listed)]
    found = list(beside_listing([made[index] for index in sorted(parts)], items))
    assert [part.index for part, _item in found] == sorted(parts)
    assert {part.index for part, item in found if item} == parts & listed
    assert all(item is None or item.bytes == part.index for part, item in found)


PART = sample_part(sample_manifest(), 0, 1)
OWN, OTHER = b64encode(bytes.fromhex(PART.sha256)).decode(), b64encode(b"another".ljust(32)).decode()
COMPOSITE = Checksum("sha256-composite", f"{OTHER}-3", "etag-3")


@pytest.mark.parametrize("etag", ["", "other", "other-3"])
@pytest.mark.parametrize(
    "recorded", [Checksum("none", ""), Checksum("none", "", "etag"), Checksum("sha256", OWN, "etag"), COMPOSITE]
)
def test_what_a_checksum_proves_of_a_part(recorded: Checksum, etag: str) -> None:
    """Only the SHA-256 of the whole can show that it is another object; any other difference shows nothing."""
    part = replace(PART, checksum=recorded)
    third = b64encode(b"a third one".ljust(32)).decode()
    assert proves(Checksum("none", "", etag), part) is None
    assert proves(Checksum("sha256", OWN, etag), part) is True
    assert proves(Checksum("sha256", third, etag), part) is False
    assert proves(Checksum("sha256-composite", f"{third}-3", etag), part) is None
    assert proves(Checksum("crc64", "AAAA", etag), part) is None
    if recorded.etag:
        assert proves(Checksum("none", "", recorded.etag), part) is True
    if recorded == COMPOSITE:
        assert proves(replace(recorded, etag=etag), part) is True
        assert proves(Checksum("sha256", OTHER, etag), part) is True, "the number of chunks was left off"
