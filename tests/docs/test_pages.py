# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command of the README and of docs/ is run, page by page, on a real ZFS and a real S3 API."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from zrb.config.key_files import read_identities, read_signing_key
from zrb.run.keys import write_age_key, write_signing_key
from zrb.seal.age_keys import public_of
from zrb.values.recipients import KeyKind

from plugins.module_utils._ansible.requirements import LIBRARIES
from tests.docs.page import Command, blocks_of
from tests.docs.stage import AGE_KEY, ROOT, RUN_ELSEWHERE, SECOND_AGE_KEY, SIGNER, Stage
from tests.docs.wheels import write_wheels
from tests.fixtures.age_tools import program
from tests.fixtures.file_tree import Description, change_tree, compare, describe_tree, make_tree
from tests.integration.s3_fixtures import ACCESS_KEY, SECRET_KEY, LocalBucket
from tests.integration.zfs_fixtures import MadeDataset, MadePool, command

pytestmark = [pytest.mark.zfs, pytest.mark.s3]

DOCS = ROOT / "docs"
PLAYED_WITHOUT_ZFS = "tests/integration/modules/test_awx.py"


@pytest.fixture
def home(make_dataset: Callable[..., MadeDataset]) -> MadeDataset:
    """``tank/home``, with real files."""
    dataset = make_dataset("home")
    make_tree(dataset.mountpoint, seed=1, files=40, big_bytes=1_000_000)
    return dataset


@pytest.fixture
def stage(zpool: MadePool, home: MadeDataset, bucket: LocalBucket, tmp_path: Path) -> Stage:
    """A machine with a dataset and a bucket, and nothing of zrb's yet."""
    directory = tmp_path / "stage"
    for name in ("bin", "etc", "usb", "safe", "repository"):
        (directory / name).mkdir(parents=True)
    # Pages call zrb as on a machine, where the configuration is in its place.
    program = directory / "bin" / "zrb"
    keys, config = "genkey|signing-key", directory / "etc" / "config.yaml"
    program.write_text(
        "#!/bin/sh\n"
        f'case $1 in {keys}) exec {sys.executable} -m zrb.command "$@" ;; esac\n'
        f'command=$1; shift; exec {sys.executable} -m zrb.command "$command" --config {config} "$@"\n'
    )
    program.chmod(0o755)

    def public_age_key(place: str) -> Callable[[], str]:
        return lambda: public_of(read_identities(directory / place / "zrb-age.key")[0])

    places: dict[str, str | Callable[[], str]] = {
        "tank": zpool.name,
        "my-backup-bucket": bucket.name,
        "https://s3.example.net": bucket.endpoint,
        "AKIAEXAMPLE": ACCESS_KEY,
        "wJalrXUtnFEMI/EXAMPLE": SECRET_KEY,
        AGE_KEY: public_age_key("usb"),
        SECOND_AGE_KEY: public_age_key("safe"),
        SIGNER: lambda: read_signing_key(directory / "etc" / "signing.key").public,
        "/etc/zrb": str(directory / "etc"),
        "/var/lib/zrb": str(directory / "state"),
        "/media/usb": str(directory / "usb"),
        "/media/safe": str(directory / "safe"),
        "/mnt/disk/zrb": str(directory / "repository"),
        "/mnt/home": str(directory / "home"),
        "/recovery": str(directory / "recovery"),
    }
    environment = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(directory)}
    return Stage(directory, places, environment)


def settle(stage: Stage, *, kind: KeyKind = "hybrid", **changes: Any) -> None:
    """Keys, credentials and configuration as the page about the first backup leaves them."""
    for place in ("usb", "safe"):
        write_age_key(stage.directory / place / "zrb-age.key", kind=kind)
    write_signing_key(stage.directory / "etc" / "signing.key")
    for block in blocks_of(DOCS / "first-backup.md"):
        stage.write(block)
    path = stage.directory / "etc" / "config.yaml"
    document = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({name: value for name, value in document.items() if value is not None}))


def back_up_three_levels(stage: Stage, files: Path) -> Description:
    """Levels 0, 1 and 2, each of other files; what the files are now."""
    for level in (0, 1, 2):
        if level:
            change_tree(files, level)
        stage.run(Command(f"zrb backup --level {level}", ()), "before the page")
    return describe_tree(files)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The collection's archive, moved away from the checkout."""
    built = subprocess.run([ROOT / "tests/setup/archive"], check=True, capture_output=True, text=True).stdout.strip()
    return Path(shutil.copy(built, tmp_path))


def test_readme_by_a_new_user_with_the_archive_alone(
    zpool: MadePool, home: MadeDataset, bucket: LocalBucket, archive: Path, tmp_path: Path
) -> None:
    """In an empty home directory, and with the libraries that the page itself installs."""
    directory = tmp_path / "user"
    for name in ("usb", "wheels"):
        (directory / name).mkdir(parents=True)
    (directory / "ansible.cfg").write_text("[defaults]\n")
    write_wheels([str(library) for library in LIBRARIES.values()], directory / "wheels")
    places: dict[str, str | Callable[[], str]] = {
        "tank": zpool.name,
        "collection install zrb.fleet": f"collection install --offline {archive}",
        "region: us-east-1": f"region: us-east-1\n      base_dir: {directory}/state",
        "my-backup-bucket": bucket.name,
        "https://s3.example.net": bucket.endpoint,
        "/usr/bin/python3": sys._base_executable,  # type: ignore[attr-defined]
        **{place: str(directory / place.rpartition("/")[2]) for place in ("/opt/zrb", "/media/usb", "/etc/zrb")},
        **{place: str(directory / place.rpartition("/")[2]) for place in ("/dev/shm", "/mnt/home")},
    }
    (directory / "shm").mkdir()
    environment = {
        "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_TRANSPORT": "local",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(directory),
        "PIP_FIND_LINKS": str(directory / "wheels"),
        "PIP_NO_INDEX": "1",
    }
    stage = Stage(directory, places, environment)
    files = describe_tree(home.mountpoint)
    stage.play(ROOT / "README.md")
    assert compare(files, describe_tree(directory / "home")) == []
    assert not (directory / "shm" / "zrb-age.key").exists()
    installed = directory / ".ansible" / "collections" / "ansible_collections"
    listed = Command("ansible-galaxy collection list zrb.fleet", (f"# {installed}",))
    stage.run(listed, "after")
    assert str(ROOT) not in "".join(path.read_text() for path in directory.glob("*.yml"))


def test_first_backup(stage: Stage) -> None:
    stage.play(DOCS / "first-backup.md")


def test_retention(stage: Stage, home: MadeDataset) -> None:
    page = DOCS / "retention.md"
    (policy,) = [yaml.safe_load(block.text) for block in blocks_of(page) if block.language == "yaml"]
    settle(stage, **policy)
    for seed in range(4):
        change_tree(home.mountpoint, seed + 1)
        stage.run(Command("zrb backup --level 0", ()), "before the page")
    stage.play(page)


def test_costs(stage: Stage, home: MadeDataset) -> None:
    settle(stage)
    stage.run(Command("zrb backup --level 0", ()), "before the page")
    stage.play(DOCS / "costs.md")


def test_restore_a_nas_from_nothing(stage: Stage, home: MadeDataset) -> None:
    settle(stage)
    files = back_up_three_levels(stage, home.mountpoint)
    signer = stage.here(SIGNER)
    credentials = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    for place in ("etc", "state", "safe"):
        shutil.rmtree(stage.directory / place)
    stage.environment |= credentials
    stage.places[SIGNER] = signer
    stage.play(DOCS / "restore-a-nas-from-nothing.md")
    assert compare(files, describe_tree(stage.directory / "home")) == []


def old_age(stage: Stage) -> None:
    """The ``age`` that the system has."""


def new_age(stage: Stage) -> None:
    """``age`` 1.3."""
    (stage.directory / "bin" / "age").symlink_to(program("age"))


def python_page(stage: Stage) -> None:
    """The page of Python, where the page for people calls ``age``."""
    age = stage.directory / "bin" / "age"
    age.write_text(f'#!/bin/sh\nexec {sys.executable} {DOCS / "open_hybrid_part.py"} "$3" "$4"\n')
    age.chmod(0o755)


@pytest.mark.parametrize(("kind", "opener"), [("classic", old_age), ("hybrid", new_age), ("hybrid", python_page)])
def test_restore_by_hand(
    stage: Stage, home: MadeDataset, zpool: MadePool, kind: KeyKind, opener: Callable[[Stage], None]
) -> None:
    opener(stage)
    settle(stage, kind=kind, s3=None, local={"path": str(stage.directory / "repository")}, part_size="256KiB")
    files = back_up_three_levels(stage, home.mountpoint)
    parts = list((stage.directory / "repository").rglob("*.age"))
    assert len(parts) > 4
    (stage.directory / "bin" / "zrb").write_text("#!/bin/sh\necho 'by hand means without zrb' >&2\nexit 1\n")
    stage.play(DOCS / "restore-by-hand.md")
    # zfs-fuse shows no extended attributes of a filesystem that was mounted while it was read-only.
    stage.run(Command("zfs unmount tank/restored && zfs mount tank/restored", ()), "after")
    assert compare(files, describe_tree(zpool.mountpoint / "restored")) == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("flipped", r"part-000001\.age: FAILED\n"),
        ("missing", r"part-000001\.age: No such file"),
        ("unsigned", r"Signature Verification Failure"),
    ],
)
def test_by_hand_damage_is_found_before_anything_is_received(
    stage: Stage, home: MadeDataset, damage: str, told: str
) -> None:
    settle(stage, s3=None, local={"path": str(stage.directory / "repository")}, part_size="256KiB")
    back_up_three_levels(stage, home.mountpoint)
    part = sorted((stage.directory / "repository").rglob("*.age"))[1]
    if damage == "flipped":
        content = bytearray(part.read_bytes())
        content[-1] ^= 1
        part.write_bytes(content)
    elif damage == "missing":
        part.unlink()
    else:
        write_signing_key(stage.directory / "other.key")
        stage.places[SIGNER] = read_signing_key(stage.directory / "other.key").public
    with pytest.raises(AssertionError, match=told):
        stage.play(DOCS / "restore-by-hand.md")
    assert stage.here("tank/restored") not in command("zfs", "list", "-H", "-r", "-o", "name", stage.here("tank"))


BY_HAND = f"python3 {DOCS / 'restore_by_hand.py'}"
KEYS = f"--key {SIGNER} --identity /media/usb/zrb-age.key"


def test_restore_by_hand_with_the_program(stage: Stage, home: MadeDataset, zpool: MadePool) -> None:
    settle(stage, kind="classic", s3=None, local={"path": str(stage.directory / "repository")}, part_size="256KiB")
    for level in range(5):
        if level in {1, 2, 4}:  # the increment of level 3 is empty
            change_tree(home.mountpoint, level)
        stage.run(Command(f"zrb backup --level {level}", ()), "before")
    files = describe_tree(home.mountpoint)
    stage.run(Command(f"{BY_HAND} verify /mnt/disk/zrb {KEYS}", ("…tank/home@zrb_level4…",)), "the program")
    restoring = Command(f"{BY_HAND} restore /mnt/disk/zrb tank/home {KEYS} --receive tank/restored", ())
    stage.run(restoring, "the program")
    with pytest.raises(AssertionError, match="it exists"):
        stage.run(restoring, "the program")
    # zfs-fuse shows no extended attributes of a filesystem that was mounted while it was read-only.
    inherit = "zfs inherit readonly tank/restored && zfs unmount tank/restored && zfs mount tank/restored"
    stage.run(Command(inherit, ()), "after")
    assert compare(files, describe_tree(zpool.mountpoint / "restored")) == []


@pytest.mark.parametrize(
    "page",
    [
        *("configuration.md", "cli.md", "jobs.md", "servers.md", "format.md", "fleet.md"),
        *("threat-model.md", "reliability.md", "performance.md", "architecture.md"),
    ],
)
def test_pages_of_reference(stage: Stage, page: str) -> None:
    settle(stage)
    stage.play(DOCS / page)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "CODE_OF_CONDUCT.md"])
def test_pages_of_the_checkout(tmp_path: Path, page: str) -> None:
    """Their commands are run elsewhere; here it is found out that they are known."""
    Stage(tmp_path, {}).play(ROOT / page)


def test_no_page_is_forgotten() -> None:
    played = "".join((ROOT / path).read_text(encoding="utf-8") for path in (__file__, PLAYED_WITHOUT_ZFS))
    for page in (*ROOT.glob("*.md"), *DOCS.glob("*.md")):
        assert page.name in played or page.name == "CHANGELOG.md"
        fences = sum(line.lstrip().startswith("```") for line in page.read_text(encoding="utf-8").splitlines())
        assert fences == 2 * len(blocks_of(page)), f"{page.name} has a block that the tests do not see"


def test_what_is_run_elsewhere_is_there() -> None:
    for text, runner in RUN_ELSEWHERE.items():
        assert (ROOT / runner).exists(), text
