# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb.json``: written once, read strictly."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from zrb.errors import ManifestInvalid
from zrb.repository.identity import MAX_IDENTITY_BYTES, RepositoryIdentity, ensure_identity, read_identity
from zrb.store.directory import DirectoryStore
from zrb.store.protocol import Buffer
from zrb.values.manifest import Checksum

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
MINE = "0123456789abcdef" * 2
THEIRS = "f" * 32


def test_the_first_backup_writes_it_and_the_others_read_it(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    assert read_identity(store) is None
    identity = ensure_identity(store, now=NOW, new_id=MINE)
    assert identity == RepositoryIdentity(MINE, NOW)
    assert ensure_identity(store, now=datetime.now(UTC), new_id=THEIRS) == identity
    assert read_identity(store) == identity
    assert (tmp_path / "zrb.json").read_text() == (
        f'{{\n  "format": 1,\n  "repository_id": "{MINE}",\n  "created": "2026-01-31T02:00:00Z"\n}}\n'
    )


@pytest.mark.parametrize("name", ["20260131T120000Z-L0-00000001.parts", ".DS_Store", "Thumbs.db"])
def test_what_is_no_manifest_is_no_backup_of_a_repository_that_lost_its_identity(tmp_path: Path, name: str) -> None:
    store = DirectoryStore(tmp_path)
    store.put(f"manifests/nas1/tank/{name}", b"left over")
    assert ensure_identity(store, now=NOW, new_id=MINE).repository_id == MINE


def test_of_two_machines_that_write_it_at_once_both_get_the_same(tmp_path: Path) -> None:
    class Raced(DirectoryStore):
        def put(self, key: str, data: Buffer, *, storage_class: str = "STANDARD") -> Checksum:
            ensure_identity(DirectoryStore(tmp_path), now=NOW, new_id=THEIRS)
            return super().put(key, data, storage_class=storage_class)

    assert ensure_identity(Raced(tmp_path), now=NOW, new_id=MINE).repository_id == THEIRS


def test_a_store_that_forgets_it_is_found_out(tmp_path: Path) -> None:
    class Forgetful(DirectoryStore):
        def put(self, key: str, data: Buffer, *, storage_class: str = "STANDARD") -> Checksum:
            return Checksum("none", "")

    with pytest.raises(ManifestInvalid, match=r"zrb\.json.*found"):
        ensure_identity(Forgetful(tmp_path), now=NOW, new_id=MINE)


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("", "it is not valid JSON"),
        ("[]", "it is not a JSON object"),
        ("{}", "it lacks 'format', 'repository_id', 'created'"),
        (
            f'{{"format":1,"repository_id":"{MINE}","created":"2026-01-31T02:00:00Z","x":1}}',
            "it has the unknown field 'x'",
        ),
        (f'{{"format":1,"repository_id":"{MINE}","created":"yesterday"}}', "it has a field created that is not a time"),
        (
            '{"format":1,"repository_id":"x","created":"2026-01-31T02:00:00Z"}',
            "it has a field repository_id that is not 32",
        ),
        (
            f'{{"format":"1","repository_id":"{MINE}","created":"2026-01-31T02:00:00Z"}}',
            "it has a field format",
        ),
        (" " * (MAX_IDENTITY_BYTES + 1), str(MAX_IDENTITY_BYTES)),
    ],
)
def test_what_zrb_did_not_write_is_refused(tmp_path: Path, content: str, answer: str) -> None:
    (tmp_path / "zrb.json").write_text(content)
    with pytest.raises(ManifestInvalid) as caught:
        read_identity(DirectoryStore(tmp_path))
    assert "zrb.json" in caught.value.problem
    assert answer in caught.value.answer
    assert "copy" in caught.value.next_step


def test_a_newer_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "zrb.json").write_text(f'{{"format":2,"repository_id":"{MINE}","created":"2026-01-31T02:00:00Z"}}')
    with pytest.raises(ManifestInvalid, match="format 2"):
        read_identity(DirectoryStore(tmp_path))
