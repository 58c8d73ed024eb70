# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users get wrong, and what the world does to them: the exit code, a message that says what to do, and nothing
half-done left behind."""

from __future__ import annotations

import json
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from zrb.run.keys import write_age_key, write_signing_key
from zrb.values.config import MIB, S3Settings
from zrb.values.recipients import shown
from zrb.zfs.real_zfs import RealZfs

from tests.fixtures.file_tree import make_tree
from tests.integration.nas_fixtures import Nas
from tests.integration.zfs_fixtures import MadePool, command

from .conftest import CommandLine, Ended, command_line

pytestmark = pytest.mark.zfs


def zfs_names(zrb: CommandLine) -> str:
    """Every dataset and snapshot of the test's pool."""
    return command("zfs", "list", "-H", "-r", "-t", "filesystem,snapshot", "-o", "name", zrb.nas.pool.name)


def refused(ended: Ended, code: int, *told: str) -> None:
    """The command ended with ``code``, on stderr alone, in one sentence after the other that says all of ``told``."""
    assert ended.code == code, f"exit code {ended.code}, not {code}\n{ended.out}\n{ended.err}"
    assert "Traceback" not in ended.err
    for text in told:
        assert text in ended.err, f"{text!r} is not in:\n{ended.err}"


def backup_is_refused(zrb: CommandLine, code: int, *told: str, **env: str) -> Ended:
    """A backup is refused, stores no part and no manifest, and holds no lock."""
    before, keys = zfs_names(zrb), objects_of(zrb)
    ended = zrb("backup", "--level", 0, "--progress", "none", **env)
    refused(ended, code, *told)
    assert zfs_names(zrb) == before
    assert objects_of(zrb) - keys <= {"zrb.json"}
    return ended


def objects_of(zrb: CommandLine) -> set[str]:
    """All files of a directory repository, unfinished ones too."""
    local = zrb.nas.config.local
    return set(files_in(Path(local.path))) if local else set()


def files_in(place: Path) -> list[str]:
    """Names of all files below ``place``."""
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


@pytest.fixture
def zrb(local_zrb: CommandLine) -> CommandLine:
    """A NAS with a few files and nothing backed up."""
    make_tree(local_zrb.files, seed=1, files=5, big_bytes=1000)
    return local_zrb


# --- keys and configuration ----------------------------------------------------------------------------------


def test_signing_key_missing(zrb: CommandLine) -> None:
    path = Path(zrb.nas.config.signing_key or "")
    kept = path.read_text()
    path.unlink()
    backup_is_refused(zrb, 2, f"{path} does not exist", "zrb signing-key")
    path.write_text(kept)
    path.chmod(0o600)
    zrb.back_up(0)


def test_signing_key_that_others_can_read(zrb: CommandLine) -> None:
    path = Path(zrb.nas.config.signing_key or "")
    for mode in (0o644, 0o640, 0o606):
        path.chmod(mode)
        backup_is_refused(zrb, 2, f"{path} has mode {mode:04o}", f"chmod 600 {path}")


def test_age_key_in_place_of_the_signing_key(zrb: CommandLine) -> None:
    zrb.edit(signing_key=str(zrb.nas.identity))
    ended = backup_is_refused(zrb, 2, "age private key", str(zrb.nas.identity))
    assert "AGE-SECRET-KEY-1" not in ended.err


def test_private_key_in_place_of_the_recipient(zrb: CommandLine) -> None:
    private = zrb.nas.identity.read_text().splitlines()[-1]
    zrb.edit(age_recipients=[private])
    ended = backup_is_refused(zrb, 2, "age private key", "age_recipients")
    assert private not in ended.err


def test_private_key_in_place_of_a_trusted_signer(zrb: CommandLine) -> None:
    private = Path(zrb.nas.config.signing_key or "").read_text().splitlines()[-1]
    zrb.edit(trusted_signers=[private])
    ended = backup_is_refused(zrb, 2, "private key", "public key of a signer")
    assert private not in ended.err


def test_malformed_recipients(zrb: CommandLine) -> None:
    for recipient in ("age1", "age1nonsense", "ssh-ed25519 AAAA", "age1yubikey1qwerty", "../../x", ""):
        zrb.edit(age_recipients=[recipient])
        backup_is_refused(zrb, 2, "age_recipients")


def test_configuration_that_makes_no_sense_names_the_key(zrb: CommandLine) -> None:
    clean = zrb.config.read_text()
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"recipients": []}, "recipients"),
        ({"part_size": "many"}, "part_size"),
        ({"part_size": "-1MiB"}, "part_size"),
        ({"part_size": 0}, "part_size"),
        ({"chunk_size": "1GiB"}, "chunk_size"),
        ({"memory_limit": "1KiB"}, "memory_limit"),
        ({"workers": "four"}, "workers"),
        ({"tasks": [{"name": "x"}]}, "pool"),
        ({"tasks": [{"name": "x", "pool": "-rf", "dataset": "x"}]}, "pool"),
        ({"base_dir": "relative"}, "base_dir"),
        ({"s3": {"enabled": True, "bucket": "both"}}, "local"),
        ({"local": {"enabled": False, "path": "/x"}}, "local"),
    ]
    for changes, told in mistakes:
        zrb.edit(**changes)
        backup_is_refused(zrb, 2, told, f"{zrb.config}:")
        zrb.config.write_text(clean)


def test_configuration_that_is_no_yaml(zrb: CommandLine) -> None:
    zrb.config.write_text("base_dir: [")
    backup_is_refused(zrb, 2, f"{zrb.config}:1: this is not valid YAML")


def test_configuration_that_others_can_write(zrb: CommandLine) -> None:
    zrb.config.chmod(0o666)
    backup_is_refused(zrb, 2, f"chmod 600 {zrb.config}")


# --- ZFS -----------------------------------------------------------------------------------------------------


def test_no_such_pool(zrb: CommandLine) -> None:
    zrb.edit(tasks=[{"name": "test", "pool": "zrbtest-nonesuch", "dataset": "data"}])
    backup_is_refused(zrb, 6, "zrbtest-nonesuch")


def test_no_such_dataset(zrb: CommandLine) -> None:
    zrb.edit(tasks=[{"name": "test", "pool": zrb.nas.pool.name, "dataset": "nonesuch"}])
    backup_is_refused(zrb, 6, f"{zrb.nas.pool.name}/nonesuch")


def test_a_task_that_fails_does_not_stop_the_other(zrb: CommandLine) -> None:
    pool = zrb.nas.pool.name
    zrb.edit(
        tasks=[
            {"name": "gone", "pool": pool, "dataset": "nonesuch"},
            {"name": "there", "pool": pool, "dataset": "data"},
        ]
    )
    ended = zrb("backup", "--level", 0, "--json")
    assert ended.code == 6
    assert [result["task"] for result in ended.document["results"]] == ["there"]
    assert [failure["task"] for failure in ended.document["failures"]] == ["gone"]


def test_snapshot_of_the_base_that_vanished_means_a_full_backup(zrb: CommandLine) -> None:
    first = zrb.back_up(0)
    command("zfs", "release", zrb.nas.hold_tag, first["snapshot"])
    command("zfs", "destroy", first["snapshot"])
    for bookmark in RealZfs().bookmarks(zrb.nas.dataset.name):
        command("zfs", "destroy", bookmark.name)
    ended = zrb("backup", "--level", 1, "--json")
    (result,) = ended.document["results"]
    assert (result["level"], result["level_requested"]) == (0, 1)
    assert result["reason"]


def test_a_zfs_that_does_not_run(zrb: CommandLine, tmp_path: Path) -> None:
    for program in ("zfs", "zpool"):
        (tmp_path / program).write_text("#!/bin/sh\necho 'The ZFS modules cannot be auto-loaded.' >&2\nexit 1\n")
        (tmp_path / program).chmod(0o755)
    ended = zrb("backup", "--level", 0, PATH=f"{tmp_path}:/usr/bin:/bin")
    refused(ended, 1, "The ZFS modules cannot be auto-loaded")
    assert ended.err.count("\n") == 1


# --- storage -------------------------------------------------------------------------------------------------


def test_repository_that_is_not_mounted(zrb: CommandLine) -> None:
    shutil.rmtree(zrb.repository)
    backup_is_refused(zrb, 6, str(zrb.repository))
    assert not zrb.repository.exists(), "a missing mount must not be filled"


@pytest.fixture
def small_place(zrb: CommandLine, zpool: MadePool) -> Iterator[Callable[..., Path]]:
    """Make a filesystem for the repository with properties of its own."""

    def make(**properties: str) -> Path:
        options = [word for name, value in properties.items() for word in ("-o", f"{name}={value}")]
        command("zfs", "create", *options, f"{zpool.name}/small")
        zrb.edit(local={"path": str(zpool.mountpoint / "small")})
        return zpool.mountpoint / "small"

    yield make


def test_no_space_in_the_repository(zrb: CommandLine, zpool: MadePool, small_place: Callable[..., Path]) -> None:
    place = small_place(quota="2M")
    (zrb.files / "big").write_bytes(random.Random(1).randbytes(5 * MIB))
    ended = zrb("backup", "--level", 0, "--progress", "none")
    refused(ended, 1, "space")
    assert not [name for name in files_in(place) if name.startswith("manifests/")]
    command("zfs", "set", "quota=none", f"{zpool.name}/small")
    result = zrb.back_up(0)
    names = files_in(place)
    assert len([name for name in names if name.startswith("data/")]) == result["parts"]
    assert [name for name in names if "tmp" in name.rpartition("/")[2].lower()] == []
    listed = zrb("verify", "--depth", "decrypt", "--private-key", zrb.nas.identity)
    listed.succeeded()


def test_a_repository_that_is_read_only(zrb: CommandLine, small_place: Callable[..., Path]) -> None:
    place = small_place(readonly="on")
    ended = zrb("backup", "--level", 0, "--progress", "none")
    assert ended.code == 1
    assert "Read-only file system" in ended.err
    assert files_in(place) == []


# --- damage ----------------------------------------------------------------------------------------------------


@pytest.fixture
def backed_up(zrb: CommandLine) -> CommandLine:
    """The NAS with levels 0 and 1, several parts in all."""
    (zrb.files / "more").write_bytes(bytes(range(256)) * 2000)
    zrb.back_up(0)
    (zrb.files / "more still").write_bytes(bytes(reversed(range(256))) * 1200)
    zrb.back_up(1)
    return zrb


def restored(zrb: CommandLine, *options: object) -> Ended:
    return zrb("restore", "--target", zrb.nas.target(), "--private-key", zrb.nas.identity, *options)


def restore_is_refused(zrb: CommandLine, code: int, *told: str, leaves: int = 0) -> None:
    """A restore is refused, and leaves ``leaves`` whole links of the chain and nothing else."""
    ended = restored(zrb, "--progress", "none")
    refused(ended, code, *told)
    target = zrb.nas.target()
    left = [name for name in zfs_names(zrb).splitlines() if name.startswith(target)]
    assert len(left) == (leaves + 1 if leaves else 0), left
    assert not list(Path(zrb.nas.config.base_dir).glob("spool/*"))


def flip(path: Path, position: int) -> None:
    before = path.read_bytes()
    after = bytearray(before)
    after[position] ^= 0x80
    path.write_bytes(after)
    assert path.read_bytes() != before


def objects(zrb: CommandLine, kind: str) -> list[Path]:
    return sorted(path for path in (zrb.repository / kind).rglob("*") if path.is_file())


def test_a_flipped_bit_in_any_part_is_refused(backed_up: CommandLine) -> None:
    parts = objects(backed_up, "data")
    assert len(parts) >= 4
    for number, part in enumerate(parts):
        clean = part.read_bytes()
        flip(part, number * 997 % len(clean))
        key = str(part.relative_to(backed_up.repository))
        verified = backed_up("verify", "--depth", "checksum", "--progress", "none")
        refused(verified, 5, key, "has another SHA-256", "expected", "found")
        restore_is_refused(backed_up, 5, key, leaves=1 if "level1" in key else 0)
        if "level1" in key:
            command("zfs", "destroy", "-r", backed_up.nas.target())
        part.write_bytes(clean)
    restored(backed_up).succeeded()


def test_a_flipped_bit_in_a_manifest_is_refused(backed_up: CommandLine) -> None:
    manifest = objects(backed_up, "manifests")[0]
    clean = manifest.read_bytes()
    key = str(manifest.relative_to(backed_up.repository))
    for position in (5, 60, 400, -5):
        flip(manifest, position)
        refused(backed_up("verify", "--depth", "signature", "--progress", "none"), 5, key)
        refused(backed_up("list"), 5, key)
        restore_is_refused(backed_up, 5, key)
        manifest.write_bytes(clean)
    restored(backed_up).succeeded()


def test_a_missing_part_is_refused_before_anything_is_created(backed_up: CommandLine) -> None:
    for index in (0, -1):
        part = objects(backed_up, "data")[index]
        content = part.read_bytes()
        part.unlink()
        key = str(part.relative_to(backed_up.repository))
        restore_is_refused(backed_up, 5, key, "is not in", "zrb verify --depth exists")
        refused(backed_up("verify", "--progress", "none"), 5, key)
        part.write_bytes(content)


def test_parts_in_each_others_place_are_refused(backed_up: CommandLine) -> None:
    first, second = objects(backed_up, "data")[:2]
    content = first.read_bytes(), second.read_bytes()
    first.write_bytes(content[1])
    second.write_bytes(content[0])
    restore_is_refused(backed_up, 5, str(first.relative_to(backed_up.repository)))


def test_a_manifest_that_is_none_is_refused(backed_up: CommandLine) -> None:
    manifest = objects(backed_up, "manifests")[0]
    for content in (b"", b"{}", b"[" * 100_000, b"\xff\xfe", b'{"payload": 1e400}'):
        manifest.write_bytes(content)
        refused(backed_up("list"), 5, manifest.name, "restore that object")
        restore_is_refused(backed_up, 5, manifest.name, "restore that object")


def test_a_manifest_of_another_dataset_is_refused(backed_up: CommandLine) -> None:
    manifest = objects(backed_up, "manifests")[0]
    foreign = manifest.parent.parent / "other" / manifest.name
    foreign.parent.mkdir()
    shutil.copy(manifest, foreign)
    ended = backed_up("list")
    refused(ended, 5, str(foreign.relative_to(backed_up.repository)), "copied")
    other = f"{backed_up.nas.pool.name}/other"
    ended = restored(backed_up, "--dataset", other)
    refused(ended, 5, "copied")


def test_a_manifest_that_a_stranger_signed_is_refused(backed_up: CommandLine, tmp_path: Path) -> None:
    stranger = write_signing_key(tmp_path / "stranger.key")
    backed_up.edit(signing_key=str(stranger.path))
    restore_is_refused(backed_up, 5, "trusted signers", "trusted_signers")


def test_without_a_trusted_signer_nothing_is_restored(backed_up: CommandLine) -> None:
    signer = backed_up("signing-key", "--output", backed_up.nas.config.signing_key, "--json").document["public_key"]
    backed_up.edit(signing_key=None)
    restore_is_refused(backed_up, 5, "No trusted signer is known", "--trusted-signer", "--allow-unsigned")
    restored(backed_up, "--trusted-signer", signer, "--dry-run").succeeded()
    ended = restored(backed_up, "--allow-unsigned", "--json")
    assert ended.code == 4
    assert any("without a trusted signature" in text for text in ended.document["warnings"])


def test_the_wrong_identity(backed_up: CommandLine, tmp_path: Path) -> None:
    other = write_age_key(tmp_path / "other.key")
    recipient = shown(backed_up.nas.config.recipients[0])
    ended = backed_up("restore", "--target", backed_up.nas.target(), "--private-key", other.path)
    refused(ended, 2, recipient)
    assert backed_up.nas.target() not in zfs_names(backed_up)


def test_a_private_key_file_that_is_none(backed_up: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "given.key"

    def is_refused(*told: str) -> None:
        ended = backed_up("restore", "--target", backed_up.nas.target(), "--private-key", path)
        refused(ended, 2, *told)

    is_refused(f"{path} does not exist")
    shutil.copy(backed_up.nas.identity, path)
    path.chmod(0o644)
    is_refused(f"chmod 600 {path}")
    path.chmod(0o600)
    path.write_text(backed_up.nas.config.recipients[0] + "\n")
    is_refused(str(path), "public key")
    shutil.copy(backed_up.nas.config.signing_key or "", path)
    is_refused(str(path))
    assert backed_up.nas.target() not in zfs_names(backed_up)


def test_a_target_that_cannot_be(backed_up: CommandLine) -> None:
    before = zfs_names(backed_up)
    pool = backed_up.nas.pool.name
    for target, code in (
        (pool, 1),
        (f"{pool}/none/such", 6),
        ("zrbtest-nonesuch/x", 6),
        (f"{pool}/re@store", 2),
        ("-rf", 2),
        (f"{pool}/data", 1),
    ):
        ended = backed_up("restore", f"--target={target}", "--private-key", backed_up.nas.identity)
        refused(ended, code, target.partition("/")[0])
        assert zfs_names(backed_up) == before


# --- S3 --------------------------------------------------------------------------------------------------------


@pytest.fixture
def s3_zrb(make_nas: Callable[..., Nas], bucket: Any) -> CommandLine:
    """A NAS whose repository is a bucket."""
    zrb = command_line(make_nas({"s3": bucket.settings}))
    make_tree(zrb.files, seed=1, files=5, big_bytes=1000)
    return zrb


def settings(zrb: CommandLine, **changes: Any) -> dict[str, Any]:
    s3 = zrb.nas.config.s3
    assert isinstance(s3, S3Settings)
    return {"bucket": s3.bucket, "endpoint": s3.endpoint, "prefix": s3.prefix, "retry": {"max_attempts": 1}} | changes


def test_s3_no_such_bucket(s3_zrb: CommandLine) -> None:
    s3_zrb.edit(s3=settings(s3_zrb, bucket="zrbtest-nonesuch"))
    backup_is_refused(s3_zrb, 6, "zrbtest-nonesuch", "region")
    refused(s3_zrb("list"), 6, "zrbtest-nonesuch")


def test_s3_no_credentials(s3_zrb: CommandLine, tmp_path: Path) -> None:
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path)}
    backup_is_refused(s3_zrb, 2, "No usable credentials", "/etc/zrb/credentials (mode 0600)", **nothing)


@pytest.fixture
def dead_endpoint() -> Iterator[str]:
    """A port where nobody listens, and nobody can begin to while the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_s3_endpoint_that_is_down(s3_zrb: CommandLine, dead_endpoint: str) -> None:
    endpoint = dead_endpoint
    s3_zrb.edit(s3=settings(s3_zrb, endpoint=endpoint))
    backup_is_refused(s3_zrb, 1, endpoint, "firewall")
    checks = json.loads(s3_zrb("validate-config", "--json").out)["checks"]
    (check,) = [check for check in checks if check["name"] == "repository"]
    assert (check["status"], endpoint in check["message"]) == ("error", True)


def test_s3_endpoint_without_tls(s3_zrb: CommandLine) -> None:
    s3 = s3_zrb.nas.config.s3
    assert s3 is not None
    s3_zrb.edit(s3=settings(s3_zrb, endpoint=s3.endpoint.replace("http://", "https://")))
    backup_is_refused(s3_zrb, 1, "TLS", "http://")


def test_s3_ca_bundle_that_is_missing(s3_zrb: CommandLine, tmp_path: Path) -> None:
    s3_zrb.edit(s3=settings(s3_zrb, ca_bundle=str(tmp_path / "gone.pem")))
    backup_is_refused(s3_zrb, 1, f"{tmp_path}/gone.pem", "ca_bundle")


def test_s3_credentials_never_reach_the_screen_or_the_logs(s3_zrb: CommandLine, dead_endpoint: str) -> None:
    secret = "zrbtest-canary-secret"
    s3_zrb.edit(s3=settings(s3_zrb, endpoint=dead_endpoint))
    ended = s3_zrb("backup", "--level", 0, "-v", "--json", AWS_SECRET_ACCESS_KEY=secret)
    assert ended.code == 1
    logs = "".join(path.read_text() for path in Path(s3_zrb.nas.config.log_dir).rglob("*.log"))
    assert secret not in ended.out + ended.err + logs
