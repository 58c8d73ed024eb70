# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names inside a repository: every dataset has a place of its own, and no name leads out of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import ManifestInvalid, UsageError
from zrb.values.repository_names import (
    BackupId,
    Series,
    check_level,
    encode_component,
    new_backup_id,
    parse_backup_id,
    parse_manifest_key,
)

ID = BackupId("20260131T020000Z-L1-5d41402a")
COMPONENTS = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=20)


def test_keys_are_those_of_the_format() -> None:
    series = Series("nas1", "tank/data/My Files")
    assert series.manifest_key(ID) == f"manifests/nas1/tank/data/My%20Files/{ID}.json"
    assert series.data_prefix(ID, 1) == f"data/nas1/tank/data/My%20Files/level1/{ID}/"
    assert series.part_key(ID, 1, 12) == f"data/nas1/tank/data/My%20Files/level1/{ID}/snapshot.part-000012.age"


@pytest.mark.parametrize(
    ("component", "encoded"),
    [
        ("Az0.9_-", "Az0.9_-"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("...", "..."),
        ("a/b", "a%2Fb"),
        ("a b:c%d~e", "a%20b%3Ac%25d%7Ee"),
        ("tägl", "t%C3%A4gl"),
        ("\0", "%00"),
    ],
)
def test_every_other_byte_is_percent_encoded(component: str, encoded: str) -> None:
    assert encode_component(component) == encoded


@given(COMPONENTS, st.lists(COMPONENTS, min_size=1, max_size=4))
def test_every_line_is_found_again_from_its_key(host: str, components: list[str]) -> None:
    series = Series(host, "/".join(components))
    key = series.manifest_key(ID)
    assert parse_manifest_key(key) == (series, ID)
    assert key.isascii()
    assert not {".", ".."} & set(key.split("/"))


@given(COMPONENTS, COMPONENTS, COMPONENTS, COMPONENTS)
def test_different_lines_have_different_keys(host: str, dataset: str, other_host: str, other_dataset: str) -> None:
    same = (host, dataset) == (other_host, other_dataset)
    assert (Series(host, dataset).path == Series(other_host, other_dataset).path) == same


@pytest.mark.parametrize(
    "key",
    [
        "",
        "zrb.json",
        f"data/nas1/tank/{ID}.json",
        f"manifests/nas1/{ID}.json",
        f"manifests/nas1/tank/{ID}",
        f"manifests/nas1/tank/{ID}.json.age",
        "manifests/nas1/tank/x.json",
        f"manifests/nas1/../tank/{ID}.json",
        f"manifests//tank/{ID}.json",
        f"manifests/nas1//{ID}.json",
        f"manifests/nas1/t%61nk/{ID}.json",
        f"manifests/nas1/t%e4nk/{ID}.json",
        f"manifests/nas1/a b/{ID}.json",
    ],
)
def test_a_key_in_any_other_form_is_refused(key: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest_key(key)
    assert repr(key) in caught.value.problem
    assert caught.value.subject == key
    assert "remove the object" in caught.value.next_step


def test_a_backup_id_says_when_and_which_level() -> None:
    made = new_backup_id(now=datetime(2026, 1, 31, 2, 0, tzinfo=UTC), level=1, token="5d41402a")
    assert made == ID
    assert parse_backup_id(ID) == ID


@pytest.mark.parametrize(
    "text", ["", "x", f"{ID}\n", f" {ID}", ID.upper(), ID.replace("L1", "L5"), ID + "0", "../" + ID]
)
def test_what_is_no_backup_id_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_backup_id(text)
    assert "backup id" in caught.value.problem
    assert "`zrb list`" in caught.value.next_step


def test_levels_are_0_to_4() -> None:
    assert [check_level(level) for level in range(5)] == [0, 1, 2, 3, 4]
    for level in (-1, 5):
        with pytest.raises(UsageError, match=f"Level {level}"):
            check_level(level)
