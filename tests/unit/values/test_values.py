# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small facts that values know about themselves."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from zrb.values.config import Config, LocalSettings, S3Credentials, S3Settings, StorageClasses, Task
from zrb.values.size_text import human_size
from zrb.values.zfs import Dataset, Snapshot

from tests.fixtures.sample_manifests import BEGINNING, sample_manifest


def test_the_last_storage_class_repeats() -> None:
    classes = StorageClasses(backup_data=("DEEP_ARCHIVE", "GLACIER", "STANDARD"))
    assert [classes.for_level(level) for level in range(5)] == ["DEEP_ARCHIVE", "GLACIER", *["STANDARD"] * 3]


def test_a_directory_has_one_storage_class() -> None:
    config = Config(
        PurePosixPath("/a"), PurePosixPath("/b"), "nas1", (), None, local=LocalSettings(PurePosixPath("/c"))
    )
    assert config.storage_classes == StorageClasses("STANDARD", ("STANDARD",))
    archive = S3Settings("bucket", storage_class=StorageClasses(backup_data=("GLACIER",)))
    assert Config(PurePosixPath("/a"), PurePosixPath("/b"), "nas1", (), None, s3=archive).storage_classes.for_level(
        0
    ) == ("GLACIER")


def test_a_task_names_its_dataset_and_its_holds() -> None:
    assert Task("home", pool="tank", dataset="data/home").dataset_name == "tank/data/home"
    assert Task("all", pool="tank", dataset="").dataset_name == "tank"
    assert Task("all", pool="tank", dataset="").hold_tag == "zrb:all"


def test_secrets_do_not_show() -> None:
    assert "hunter2" not in repr(S3Settings("bucket", credentials=S3Credentials("AKIA", "hunter2", "hunter2")))


def test_a_snapshot_knows_its_parts() -> None:
    snapshot = Snapshot("tank/data@zrb_level0_x", "1", 2, BEGINNING)
    assert (snapshot.dataset_name, snapshot.short_name) == ("tank/data", "zrb_level0_x")
    assert Dataset("tank/data", "1", "filesystem").pool_name == "tank"
    assert Dataset("tank", "1", "filesystem").pool_name == "tank"


def test_a_manifest_adds_up_its_parts() -> None:
    assert sample_manifest(sizes=(10, 10, 1)).parts.stored_bytes == 21 + 3 * 216


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 * 1024**4, "5.0 TiB"), (-2048, "-2.0 KiB")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert human_size(size) == text
