# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A line a check: what is wrong with a configuration, and what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from zrb.errors import StoreUnavailable, ZfsMissing
from zrb.run.context import Context
from zrb.run.keys import write_age_key, write_signing_key
from zrb.run.validate import Check, exit_code, validate_config
from zrb.run.validate.repository import feature_checks, settings_checks
from zrb.seal.age_keys import new_identity
from zrb.store.directory import DirectoryStore
from zrb.store.s3_endpoint_features import EndpointFeatures
from zrb.values.config import S3Settings, Task
from zrb.values.recipients import KeyKind

from tests.fakes.zfs import ZFS_FUSE, FakeZfs
from tests.fixtures.committed_repository import CommittedRepository

FINE = EndpointFeatures(conditional_writes=True, checksum_rejected=True, checksum_stored=True, content_md5_checked=True)

REFUSES_EVEN_ROOT = "/proc/sys"
"""Whatever a process may do, it can make nothing here, in a container either."""


@pytest.fixture
def zfs() -> FakeZfs:
    fake = FakeZfs()
    fake.add_dataset("tank/data/child")
    return fake


@pytest.fixture
def context(tmp_path: Path, zfs: FakeZfs) -> Context:
    """Everything as it should be."""
    repository = CommittedRepository(tmp_path / "repository")
    etc = tmp_path / "etc"
    etc.mkdir()
    write_signing_key(etc / "signing.key")
    context = repository.context(zfs=zfs)
    config = replace(
        context.config,
        signing_key=PurePosixPath(etc / "signing.key"),
        recipients=(new_identity()[1], new_identity()[1]),
        tasks=(Task(name="data", pool="tank", dataset="data"),),
    )
    return replace(context, config=config)


def changed(context: Context, **fields: Any) -> Context:
    return replace(context, config=replace(context.config, **fields))


def checks(context: Context, **options: Any) -> dict[str, Check]:
    return {check.name: check for check in validate_config(context, **options)}


def config_file(tmp_path: Path, mode: int = 0o600) -> Path:
    path = tmp_path / "etc" / "config.yaml"
    path.write_text("")
    path.chmod(mode)
    return path


def test_all_is_well(context: Context, tmp_path: Path) -> None:
    found = validate_config(context, config_path=config_file(tmp_path))
    assert [(check.name, check.next_step) for check in found if check.status != "ok"] == []
    assert {check.name for check in found} == {
        *("config", "recipients", "signing_key", "trusted_signers", "base_dir", "log_dir", "zfs", "task data"),
        *("repository", "repository_write"),
    }
    assert exit_code(found) == 0
    assert found[0].as_json()["status"] == "ok"


def test_offline_leaves_the_repository_alone(context: Context) -> None:
    def unreachable() -> Any:
        raise AssertionError("offline")

    assert "repository" not in checks(replace(context, open_store=unreachable), offline=True)


def test_one_recipient_is_a_warning(context: Context) -> None:
    check = checks(changed(context, recipients=("age1x",)))["recipients"]
    assert (check.status, "second one" in check.next_step) == ("warning", True)
    assert exit_code([check]) == 4


def test_a_missing_signing_key_is_an_error(context: Context) -> None:
    none = checks(changed(context, signing_key=None))["signing_key"]
    gone = checks(changed(context, signing_key=PurePosixPath("/nonexistent/key")))["signing_key"]
    assert (none.status, gone.status) == ("error", "error")
    assert "zrb signing-key" in none.next_step
    assert "/nonexistent/key" in gone.message
    assert exit_code([none]) == 2


def test_a_signing_key_that_others_can_read_is_an_error(context: Context) -> None:
    Path(context.config.signing_key or "").chmod(0o644)
    check = checks(context)["signing_key"]
    assert (check.status, "chmod 600" in check.next_step) == ("error", True)


def test_a_config_that_others_can_read_is_a_warning(context: Context, tmp_path: Path) -> None:
    check = checks(context, config_path=config_file(tmp_path, 0o644))["config"]
    assert (check.status, "mode 0644" in check.message) == ("warning", True)


def test_a_config_that_vanished_is_an_error(context: Context, tmp_path: Path) -> None:
    assert checks(context, config_path=tmp_path / "gone")["config"].status == "error"


@pytest.mark.parametrize("kind", ["classic", "hybrid"])
@pytest.mark.parametrize("place", ["etc", "base"])
def test_a_private_age_key_on_the_machine_that_backs_up_is_a_warning(
    context: Context, tmp_path: Path, place: str, kind: KeyKind
) -> None:
    (tmp_path / place).mkdir(exist_ok=True)
    write_age_key(tmp_path / place / "some-name", kind=kind)
    check = checks(context, config_path=config_file(tmp_path))["age_identity"]
    assert check.status == "warning"
    assert str(tmp_path / place / "some-name") in check.message
    assert "AGE-SECRET" not in check.message + check.next_step


def test_directories_that_cannot_be_made_are_errors(context: Context, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = checks(changed(context, base_dir=PurePosixPath(tmp_path / "file" / "base")))
    assert found["base_dir"].status == "error"
    assert str(tmp_path / "file") in found["base_dir"].message
    assert found["log_dir"].status == "ok"
    assert "first run" in found["log_dir"].message


def test_a_directory_that_is_not_writable_is_an_error(context: Context) -> None:
    check = checks(changed(context, log_dir=PurePosixPath(REFUSES_EVEN_ROOT, "x")))["log_dir"]
    assert check.status == "error"
    assert "not writable" in check.message


def test_without_zfs_the_repository_is_still_checked(context: Context, zfs: FakeZfs) -> None:
    zfs.fail("capabilities", ZfsMissing("zfs is not installed", next_step="Install it"))
    found = checks(context)
    assert (found["zfs"].status, found["zfs"].next_step) == ("error", "Install it")
    assert found["repository"].status == "ok"


def test_tasks_are_checked_each_by_itself(context: Context) -> None:
    tasks = (
        Task(name="gone", pool="tank", dataset="gone"),
        Task(name="nopool", pool="nopool", dataset="x"),
        Task(name="off", pool="nopool", dataset="x", enabled=False),
        Task(name="all", pool="tank", dataset="", recursive=True),
    )
    found = checks(changed(context, tasks=tasks))
    assert (found["task gone"].status, found["task nopool"].status) == ("error", "error")
    assert "task off" not in found
    assert "3 datasets" in found["task all"].message


def test_no_enabled_task_is_a_warning(context: Context) -> None:
    assert checks(changed(context, tasks=()))["tasks"].status == "warning"


def test_raw_where_zfs_cannot_is_an_error(context: Context) -> None:
    old = FakeZfs(capabilities=ZFS_FUSE)
    old.add_dataset("tank/secret", encrypted=True)
    task = Task(name="t", pool="tank", dataset="secret")
    names = {"auto": "error", "always": "error", "never": "ok"}
    for raw, status in names.items():
        found = validate_config(replace(changed(context, tasks=(replace(task, raw=raw),)), zfs=old))  # type: ignore[arg-type]
        assert [check.status for check in found if check.name == "task t"][-1] == status
    assert "no raw send" in checks(replace(context, zfs=old))["zfs"].message


def test_a_repository_that_is_not_there_is_an_error(context: Context, tmp_path: Path) -> None:
    check = checks(replace(context, open_store=lambda: DirectoryStore(tmp_path / "unmounted")))["repository"]
    assert check.status == "error"
    assert str(tmp_path / "unmounted") in check.message


def test_a_repository_that_does_not_answer_is_an_error_with_its_answer(context: Context) -> None:
    def unreachable() -> Any:
        raise StoreUnavailable("No answer", answer="connection refused", next_step="Check the cable")

    check = checks(replace(context, open_store=unreachable))["repository"]
    assert (check.status, check.message, check.next_step) == (
        "error",
        "No answer: connection refused",
        "Check the cable",
    )


def test_an_empty_repository_is_fine(context: Context, tmp_path: Path) -> None:
    (tmp_path / "repository" / "zrb.json").unlink()
    check = checks(context)["repository"]
    assert (check.status, "is empty" in check.message) == ("ok", True)


def test_a_directory_that_cannot_be_written_is_an_error(context: Context) -> None:
    local = replace(context.config.local, path=PurePosixPath(REFUSES_EVEN_ROOT))  # type: ignore[type-var]
    check = checks(changed(context, local=local))["repository_write"]
    assert (check.status, "mount it rw" in check.next_step) == ("error", True)


def states(features: EndpointFeatures) -> dict[str, str]:
    return {check.name: check.status for check in feature_checks(features)}


def test_endpoint_features_are_told_one_by_one() -> None:
    assert set(states(FINE).values()) == {"ok"}
    assert states(replace(FINE, conditional_writes=False))["conditional_writes"] == "warning"
    assert states(replace(FINE, checksum_rejected=False))["checksums"] == "ok", "it checks Content-MD5"
    assert states(replace(FINE, checksum_rejected=False, content_md5_checked=False))["checksums"] == "warning"
    assert states(replace(FINE, checksum_stored=False))["stored_checksums"] == "warning"
    unknown = list(feature_checks(EndpointFeatures()))
    assert {check.status for check in unknown} == {"warning"}
    assert all("first backup" in check.next_step for check in unknown)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (S3Settings("bucket"), []),
        (S3Settings("bucket", endpoint="https://s3.example"), []),
        (S3Settings("bucket", endpoint="http://s3.example"), ["is not encrypted"]),
        (S3Settings("bucket", endpoint="https://s3.example", validate_certs=False), ["is not verified"]),
    ],
)
def test_an_open_connection_is_a_warning(settings: S3Settings, told: list[str]) -> None:
    found = list(settings_checks(settings))
    assert [check.status for check in found] == ["warning"] * len(told)
    assert all(text in check.message for check, text in zip(found, told, strict=True))
