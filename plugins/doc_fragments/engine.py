# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options that describe a repository, a machine and a dataset. Twin of
``module_utils/_ansible/arguments.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as ``zrb.fleet.engine``, ``zrb.fleet.engine.source`` and ``zrb.fleet.engine.writing``."""

    DOCUMENTATION = r"""
options:
  config:
    description:
      - Configuration file of the C(zrb) command, on the machine that the module runs on.
      - Instead of it, the same things can be said with the options O(repository) or O(bucket) and those beside them.
        O(host), O(trusted_signers), O(memory_limit), O(workers), O(bandwidth_limit) and the S3 connection options can
        be given together with O(config), and then count more than what it says.
    type: path
  repository:
    description:
      - Directory that holds the repository, such as the mount point of a USB disk.
    type: path
  bucket:
    description:
      - S3 bucket that holds the repository. It must exist.
    type: str
  prefix:
    description:
      - What the names of all objects in O(bucket) begin with, such as V(zfs-backups/).
    type: str
  expected_bucket_owner:
    description:
      - Account that O(bucket) must belong to; requests to a bucket of another owner fail.
    type: str
  checksums:
    description:
      - Whether checksums go with each upload to O(bucket). V(auto) learns from the endpoint what it can do.
      - The default is V(auto).
    type: str
    choices: [auto, required, "off"]
  host:
    description:
      - Name of the machine in the repository; the short name of the host where none is given.
    type: str
  base_dir:
    description:
      - Directory for state, locks and the spool.
      - The default is V(/var/lib/zrb).
    type: path
  trusted_signers:
    description:
      - Public signing keys whose backups are accepted, besides that of the machine's own signing key.
    type: list
    elements: str
  memory_limit:
    description:
      - Limit of all buffers together, such as V(1GiB).
      - The default is V(512MiB).
    type: str
  workers:
    description:
      - Number of parts that are uploaded or downloaded at once.
      - The default is V(4).
    type: int
  bandwidth_limit:
    description:
      - Limit of the transfer in bytes per second, such as V(20MiB); V(0) for none.
      - The default is V(0).
    type: str
attributes:
  action_group:
    description:
      - Use C(group/zrb.fleet.repository) in C(module_defaults) to set defaults for all modules that work with a
        repository, or C(group/zrb.fleet.all) for all modules.
    support: full
    membership:
      - zrb.fleet.all
      - zrb.fleet.repository
requirements:
  - python >= 3.11
  - bitmath >= 2.0
  - blake3 >= 1.0
  - boto3 >= 1.36, for repositories in S3
  - cryptography >= 42
  - PyYAML >= 6.0, for O(config)
notes:
  - The module runs C(zfs) on the machine that it is run on, as the user that it is run as. That user needs root's
    rights, or those that C(zfs allow) gives.
"""

    SOURCE = r"""
options:
  task:
    description:
      - Name of the task in O(config) that says which dataset is meant.
    type: str
  dataset:
    description:
      - Full name of the dataset, such as V(tank/home), where no task of O(config) names it.
    type: str
  recursive:
    description:
      - Take in all filesystems and volumes below O(dataset), snapshotted at the same instant.
      - The default is V(false).
    type: bool
  exclude:
    description:
      - Globs of datasets to leave out where O(recursive) is V(true), by full name or by the name below O(dataset).
    type: list
    elements: str
  snapshot_prefix:
    description:
      - Snapshots are named V({prefix}_level{N}_{UTC time}).
      - The default is V(zrb).
    type: str
  level:
    description:
      - V(0) for all of the dataset, V(1) to V(4) for what has changed since the newest backup of the level below.
    type: int
    choices: [0, 1, 2, 3, 4]
    required: true
"""

    WRITING = r"""
options:
  recipients:
    description:
      - Public age keys. Whoever holds the private key of any of them can restore.
    type: list
    elements: str
  signing_key:
    description:
      - File of the private key that signs the manifest of the backup.
    type: path
  manifest_storage_class:
    description:
      - S3 storage class of manifests. They must never need to be thawed.
      - The default is V(STANDARD).
    type: str
  storage_classes:
    description:
      - S3 storage classes of the data, one per level beginning with level 0; the last one counts for all levels after
        it.
      - The default is V([STANDARD]).
    type: list
    elements: str
  part_size:
    description:
      - How much of the stream goes into one object, such as V(1GiB).
      - If it is left out, it is chosen for each backup. Check mode shows it.
    type: str
  chunk_size:
    description:
      - How much goes into one request; parts larger than that are multipart uploads.
      - If it is left out, it is chosen for each backup. Check mode shows it.
    type: str
  raw:
    description:
      - Whether blocks are sent as they are on disk. V(auto) sends encrypted datasets raw, so that the repository never
        sees their plain content and no key needs to be loaded.
      - The default is V(auto).
    type: str
    choices: [auto, always, never]
  take_snapshot:
    description:
      - V(false) backs up the newest snapshot that has the prefix and the level in its name, instead of a new one.
      - The default is V(true).
    type: bool
"""
