# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which datasets a task covers, and which repository an option means."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from zrb.config.tasks import as_tasks, check_source, covered_by_any, covers, task_datasets
from zrb.errors import NoSuchDataset, NoSuchPool, UsageError
from zrb.values.config import Config, LocalSettings, S3Settings, Task

from tests.fakes.zfs import FakeZfs

DATASETS = ("tank/data", "tank/data/a", "tank/data/a/deep", "tank/data/b", "tank/data/b/tmp", "tank/database")


@pytest.fixture
def zfs() -> FakeZfs:
    fake = FakeZfs()
    for name in DATASETS:
        fake.add_dataset(name)
    return fake


def task(*, recursive: bool = True, exclude: tuple[str, ...] = (), dataset: str = "data") -> Task:
    return Task(name="t", pool="tank", dataset=dataset, recursive=recursive, exclude=exclude)


@pytest.mark.parametrize(
    ("exclude", "covered"),
    [
        ((), ["", "/a", "/a/deep", "/b", "/b/tmp"]),
        (("a",), ["", "/b", "/b/tmp"]),
        (("*/tmp",), ["", "/a", "/a/deep", "/b"]),
        (("tank/data/b",), ["", "/a", "/a/deep"]),
        (("tank/data/?",), [""]),
        (("a", "b"), [""]),
        (("data",), ["", "/a", "/a/deep", "/b", "/b/tmp"]),
        (("A",), ["", "/a", "/a/deep", "/b", "/b/tmp"]),
    ],
)
def test_globs_take_out_datasets_and_what_lies_below(
    zfs: FakeZfs, exclude: tuple[str, ...], covered: list[str]
) -> None:
    names = [f"tank/data{name}" for name in covered]
    chosen = task(exclude=exclude)
    assert task_datasets(zfs, chosen) == names
    assert [name for name in DATASETS if covers(chosen, name)] == names


def test_a_task_that_is_not_recursive_covers_one_dataset(zfs: FakeZfs) -> None:
    chosen = task(recursive=False)
    assert task_datasets(zfs, chosen) == ["tank/data"]
    assert [name for name in DATASETS if covers(chosen, name)] == ["tank/data"]


def test_the_root_of_a_pool_can_be_a_task(zfs: FakeZfs) -> None:
    chosen = task(dataset="", exclude=("data",))
    assert task_datasets(zfs, chosen) == ["tank", "tank/database"]
    assert covers(chosen, "tank")
    assert not covers(chosen, "tankard")


def test_globs_that_leave_nothing_are_an_error(zfs: FakeZfs) -> None:
    with pytest.raises(UsageError, match="`exclude`"):
        task_datasets(zfs, task(exclude=("tank/*",)))


@pytest.mark.parametrize(
    ("chosen", "error"), [(task(dataset="gone"), NoSuchDataset), (Task("t", "nopool", "x"), NoSuchPool)]
)
def test_a_dataset_that_is_not_there_is_an_error(zfs: FakeZfs, chosen: Task, error: type[Exception]) -> None:
    with pytest.raises(error):
        task_datasets(zfs, chosen)


def test_no_task_means_everything() -> None:
    chosen = task()
    assert as_tasks(None) == ()
    assert as_tasks(chosen) == (chosen,)
    assert as_tasks([chosen]) == (chosen,)
    assert covered_by_any((), "anything")
    assert covered_by_any((chosen,), "tank/data/a")
    assert not covered_by_any((chosen,), "tank/database")


def test_a_source_must_be_the_enabled_one() -> None:
    path = PurePosixPath("/var/lib/zrb")
    s3 = Config(path, path, "nas1", (), None, s3=S3Settings("bucket"))
    local = Config(path, path, "nas1", (), None, local=LocalSettings(path))
    for config, source in ((s3, "s3"), (local, "local"), (s3, None), (local, None)):
        check_source(config, source)
    with pytest.raises(UsageError, match="not `s3`"):
        check_source(local, "s3")
    with pytest.raises(UsageError, match=r"local\.enabled"):
        check_source(s3, "local")
