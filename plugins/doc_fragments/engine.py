# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options that describe a repository, a machine and a dataset. Twin of
``module_utils/_ansible/arguments.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as ``zrb.fleet.engine`` and ``zrb.fleet.engine.zfs``, ``.source`` and ``.writing``."""

    DOCUMENTATION = r"""
options:
  config:
    description:
      - Configuration file of the C(zrb) command, on the machine that the module runs on.
      - Use either this or the options that describe a repository, such as O(repository) or O(bucket).
      - O(host), O(trusted_signers), O(memory_limit), O(workers), O(bandwidth_limit) and the options of the S3
        connection can be combined with O(config). O(trusted_signers) adds to those in the file; the others override
        the file.
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
      - Prefix of the names of all objects in O(bucket), such as V(zfs-backups/).
    type: str
  expected_bucket_owner:
    description:
      - Account that must own O(bucket). Requests to a bucket of another account fail.
    type: str
  checksums:
    description:
      - Whether to send checksums with each upload to O(bucket). V(auto) finds out what the endpoint supports.
      - If unset, V(auto).
    type: str
    choices: [auto, required, "off"]
  host:
    description:
      - Name of the machine in the repository.
      - If unset, the name in O(config), or the short host name.
    type: str
  base_dir:
    description:
      - Directory for state, locks and the spool.
      - If unset, V(/var/lib/zrb).
    type: path
  trusted_signers:
    description:
      - Public signing keys whose backups are accepted, in addition to the machine's own key.
    type: list
    elements: str
  memory_limit:
    description:
      - Limit of all buffers together, such as V(1GiB).
      - If unset, the limit in O(config), or V(512MiB).
    type: str
  workers:
    description:
      - Number of parts to upload or download at the same time.
      - If unset, the number in O(config), or V(4).
    type: int
  bandwidth_limit:
    description:
      - Limit of the transfer in bytes per second, such as V(20MiB). V(0) means no limit.
      - If unset, the limit in O(config), or V(0).
    type: str
attributes:
  action_group:
    description:
      - Use C(group/zrb.fleet.repository) in C(module_defaults) to set any option that describes a repository or an S3
        connection, for all modules that have these options.
      - Use C(group/zrb.fleet.config) to set O(config), and C(group/zrb.fleet.s3) to set options of the S3 connection.
    support: full
    membership:
      - zrb.fleet.config
      - zrb.fleet.repository
      - zrb.fleet.s3
requirements:
  - python >= 3.11
  - bitmath >= 2.0
  - blake3 >= 1.0
  - boto3 >= 1.36, for repositories in S3
  - cryptography >= 48
  - PyYAML >= 6.0
"""

    ZFS = r"""
options: {}
notes:
  - The module runs C(zfs) on the machine and as the user that it runs as. That user must be root, or must have been
    delegated these rights with C(zfs allow).
"""

    SOURCE = r"""
options:
  task:
    description:
      - Name of a task in O(config), which names the dataset.
    type: str
  dataset:
    description:
      - Full name of the dataset, such as V(tank/home), if no task in O(config) names it.
    type: str
  recursive:
    description:
      - Include all filesystems and volumes below O(dataset), with snapshots taken at the same instant.
      - If unset, V(false).
    type: bool
  exclude:
    description:
      - Globs of datasets to leave out if O(recursive=true). A glob is compared with the full name and with the name
        below O(dataset).
    type: list
    elements: str
  snapshot_prefix:
    description:
      - Snapshots are named V({prefix}_level{N}_{UTC time}).
      - If unset, V(zrb).
    type: str
  level:
    description:
      - V(0) stores all of the dataset. V(1) to V(4) store what has changed since the newest backup of the level below.
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
      - File with the private key that signs the manifest of the backup.
    type: path
  manifest_storage_class:
    description:
      - S3 storage class of manifests. Choose one that never needs thawing.
      - If unset, V(STANDARD).
    type: str
  storage_classes:
    description:
      - S3 storage classes of the data, one for each level, starting with level 0. The last one also applies to all
        higher levels.
      - If unset, V([STANDARD]).
    type: list
    elements: str
  part_size:
    description:
      - How much of the stream goes into one object, such as V(1GiB).
      - If unset, chosen for each backup. Check mode shows it.
    type: str
  chunk_size:
    description:
      - How much goes into one request. Larger parts become multipart uploads.
      - If unset, chosen for each backup. Check mode shows it.
    type: str
  raw:
    description:
      - Whether to send blocks as they are on disk. V(auto) sends encrypted datasets raw, so that no ZFS key needs to be
        loaded.
      - If unset, V(auto).
    type: str
    choices: [auto, always, never]
  take_snapshot:
    description:
      - V(false) backs up the newest existing snapshot with the prefix and the level in its name.
      - If unset, V(true), which takes a new snapshot.
    type: bool
  keep_snapshots:
    description:
      - How many of the snapshots of each dataset stay that the collection took and that no later backup needs. The next
        backup destroys the others. V(all) keeps all of them.
      - If unset, V(0).
    type: str
"""
