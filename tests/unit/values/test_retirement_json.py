# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Retirement records: what is written can be read, nothing else can, and merging loses nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from zrb.errors import ManifestInvalid
from zrb.values.manifest_json import MAX_PAYLOAD_BYTES
from zrb.values.repository_names import BackupId
from zrb.values.retirement_json import (
    MAX_RETIRED,
    RetiredBackup,
    RetirementRecord,
    decode_retirement,
    encode_retirement,
    merge_retired,
)

from tests.docs.schema import schemas
from tests.fixtures.patched import patched
from tests.fixtures.sample_manifests import BEGINNING

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/retirement.json").read_text(encoding="utf-8"))
"""As for manifests."""
SCHEMA = Draft202012Validator(schemas()["retirement.schema.json"])


@pytest.mark.parametrize("name", VECTORS["good"])
def test_good_vectors_are_read_and_written_alike(name: str) -> None:
    vector = VECTORS["good"][name]
    fields = patched(VECTORS["base"], vector)
    record = decode_retirement(json.dumps(fields).encode())
    payload = encode_retirement(record)
    assert hashlib.sha256(payload).hexdigest() == vector["sha256"]
    assert json.loads(payload) == fields
    SCHEMA.validate(fields)


@pytest.mark.parametrize("name", VECTORS["bad"])
def test_bad_vectors_are_refused_with_their_reason(name: str) -> None:
    vector = VECTORS["bad"][name]
    fields = patched(VECTORS["base"], vector)
    with pytest.raises(ManifestInvalid) as caught:
        decode_retirement(json.dumps(fields).encode())
    assert vector["reason"] in caught.value.problem
    assert caught.value.next_step
    assert SCHEMA.is_valid(fields) != vector["schema_refuses"]


@pytest.mark.parametrize("value", [None, True, -1, 2**63, 1.5, "", "\x00", [], {}, "x" * 2000])
def test_schema_and_reader_agree_on_every_field(value: Any) -> None:
    fields: dict[str, Any] = VECTORS["base"]
    places = [*((name,) for name in fields), *(("backups", 0, name) for name in fields["backups"][0])]
    for place in places:
        changed = patched(fields, {"set": {f"/{'/'.join(map(str, place))}": value}})
        if not SCHEMA.is_valid(changed):
            with pytest.raises(ManifestInvalid):
                decode_retirement(json.dumps(changed).encode())


def test_the_longest_record_fits_into_a_payload() -> None:
    backups = tuple(
        RetiredBackup(
            BackupId(f"20260101T000000Z-L0-{number:08x}"),
            2**63 - MAX_RETIRED + number,
            "a" * 64,
            str(2**64 - 1),
            BEGINNING,
            "\U0001f600" * 200,
        )
        for number in range(MAX_RETIRED)
    )
    longest = "\U0001f600"
    record = RetirementRecord("0" * 32, longest * 1024, longest * 1024, backups)
    payload = encode_retirement(record)
    assert MAX_PAYLOAD_BYTES * 0.9 < len(payload) <= MAX_PAYLOAD_BYTES
    with pytest.raises(ManifestInvalid):
        encode_retirement(
            replace(record, backups=(*backups, replace(backups[-1], seq=2**63 - 1, manifest_sha256="b" * 64)))
        )


def one_of(number: int, kind: str, days: int, reason: str) -> RetiredBackup:
    backup_id = BackupId(f"20260101T000000Z-L0-{number:08x}")
    return RetiredBackup(backup_id, number, kind * 64, str(number), BEGINNING + timedelta(days=days), reason)


GROUPS = st.lists(
    st.builds(one_of, st.integers(1, 5), st.sampled_from("ab"), st.integers(0, 3), st.sampled_from(["old", "lost"])),
    max_size=8,
).map(tuple)


@given(GROUPS, GROUPS, GROUPS)
def test_merging_is_idempotent_commutative_and_associative(
    one: tuple[RetiredBackup, ...], two: tuple[RetiredBackup, ...], three: tuple[RetiredBackup, ...]
) -> None:
    merged = merge_retired(one, two)
    assert merge_retired(merged, merged) == merged == merge_retired(two, one) == merge_retired(merged, one)
    assert merge_retired(merged, three) == merge_retired(one, merge_retired(two, three))


@given(GROUPS, GROUPS)
def test_merging_loses_nothing_and_adds_nothing(one: tuple[RetiredBackup, ...], two: tuple[RetiredBackup, ...]) -> None:
    merged = merge_retired(one, two)
    assert {each.place for each in merged} == {each.place for each in (*one, *two)}
    assert set(merged) <= {*one, *two}
    for each in merged:
        assert each.retired == min(other.retired for other in (*one, *two) if other.place == each.place)


@given(GROUPS.filter(bool))
def test_what_was_merged_can_be_written_and_read(group: tuple[RetiredBackup, ...]) -> None:
    record = RetirementRecord("0" * 32, "nas1", "tank/data", merge_retired(group))
    assert decode_retirement(encode_retirement(record)) == record
