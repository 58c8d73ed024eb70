#!/usr/bin/python
# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module zrb.fleet.s3_lifecycle."""

from __future__ import annotations

DOCUMENTATION = r"""
module: s3_lifecycle
short_description: Manage lifecycle rules of an S3 bucket
version_added: 0.1.0
author:
  - zrb.fleet contributors (@zrb-fleet)
description:
  - Brings rules of a bucket's lifecycle configuration to what is wanted. Rules are matched by their id, and a rule
    whose id is not named here is left alone unless O(purge) is V(true).
  - S3 takes a lifecycle configuration only as a whole. The module reads it, compares what the rules mean, and writes
    only if something differs. Rules that it leaves alone are written as S3 returned them, also what it does not know of
    them. Then it reads until S3 reliably shows the new rules, because for a while it answers with old and new ones in
    turn.
  - S3 checks what the rules say, and its answer is shown. Check mode does not ask it.
  - It warns of rules, named here or not, that can delete backups by their age or move manifests to an archive.
  - A backup repository needs one rule, which removes multipart uploads that were never completed. Some endpoints remove
    them by themselves and refuse that rule, as MinIO does. A rule that deletes objects by their age knows nothing of
    backups that others build upon, and makes those useless.
extends_documentation_fragment:
  - zrb.fleet.attributes
  - zrb.fleet.attributes.group_s3
  - zrb.fleet.s3
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - An endpoint that does not keep all that a rule says makes every run change it again, with a warning.
options:
  bucket:
    description:
      - Name of the bucket. It must exist.
    type: str
    required: true
  rules:
    description:
      - The rules. A rule that exists with the same id is replaced by what is said here.
      - If O(state=absent), only O(rules[].id) counts.
    type: list
    elements: dict
    required: true
    suboptions:
      id:
        description:
          - Name of the rule, unique in the bucket.
        type: str
        required: true
      enabled:
        description:
          - Whether S3 acts on the rule.
        type: bool
        default: true
      prefix:
        description:
          - Only objects whose names begin with this. If it is empty, all objects of the bucket.
        type: str
        default: ""
      tags:
        description:
          - Only objects that have all these tags.
        type: dict
        default: {}
      object_size_greater_than:
        description:
          - Only objects of more bytes than this.
        type: int
      object_size_less_than:
        description:
          - Only objects of fewer bytes than this.
        type: int
      transitions:
        description:
          - Moves of objects to other storage classes.
        type: list
        elements: dict
        default: []
        suboptions:
          storage_class:
            description:
              - The class to move to, such as V(STANDARD_IA), V(GLACIER_IR), V(GLACIER) or V(DEEP_ARCHIVE).
            type: str
            required: true
          days:
            description:
              - Age of the object in days. Either this or O(rules[].transitions[].date) is required.
            type: int
          date:
            description:
              - Day, such as V(2027-01-31), from whose midnight in UTC on objects are moved.
            type: str
      noncurrent_version_transitions:
        description:
          - Moves of versions that have been replaced or deleted, in a bucket with versioning.
        type: list
        elements: dict
        default: []
        suboptions:
          storage_class:
            description:
              - The class to move to.
            type: str
            required: true
          days:
            description:
              - Days since the version was replaced.
            type: int
            required: true
          newer_noncurrent_versions:
            description:
              - How many of the newest of these versions are not moved.
            type: int
      expiration_days:
        description:
          - Age in days at which objects are deleted. Not for backups, since it goes on when backups have stopped.
        type: int
      expiration_date:
        description:
          - Day, such as V(2027-01-31), from whose midnight in UTC on objects are deleted.
        type: str
      expired_object_delete_marker:
        description:
          - Whether delete markers without any versions are removed.
        type: bool
      noncurrent_version_expiration_days:
        description:
          - Days after which a version that has been replaced or deleted is removed for good.
        type: int
      newer_noncurrent_versions:
        description:
          - How many of the newest of these versions are kept all the same.
        type: int
      abort_incomplete_multipart_upload_days:
        description:
          - Days after their start at which multipart uploads that were not completed are removed. Choose more than
            the longest time after which a backup may still be resumed.
        type: int
  state:
    description:
      - Whether the bucket has the O(rules), or has none of their ids.
    type: str
    choices: [present, absent]
    default: present
  purge:
    description:
      - Whether rules that are not named here are removed. With an empty list of O(rules), all are.
      - Only with O(state=present).
    type: bool
    default: false
  prefix:
    description:
      - What the names of all objects of the backup repository in the bucket begin with, such as V(zfs-backups/), so
        that warnings are given for just the rules that concern it.
      - If it is not given, warnings are given for rules without a prefix, and for those whose prefix has a part
        C(data) or C(manifests).
    type: str
  expected_bucket_owner:
    description:
      - Account that the bucket must belong to; requests to a bucket of another owner fail.
    type: str
    default: ""
  wait:
    description:
      - Whether to wait until the new rules are reliably read.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds to wait for that.
    type: int
    default: 60
requirements:
  - python >= 3.11
  - boto3 >= 1.36
notes:
  - The credentials need C(s3:GetLifecycleConfiguration) and C(s3:PutLifecycleConfiguration). Those that make backups
    should not have the second one, so run this from the controller, with others.
"""

EXAMPLES = r"""
- name: Remove uploads that were never completed
  zrb.fleet.s3_lifecycle:
    bucket: my-backup-bucket
    region: eu-central-1
    prefix: zfs-backups/
    rules:
      - id: zrb-abort-incomplete-uploads
        abort_incomplete_multipart_upload_days: 14

- name: Move backups to an archive, and remove deleted versions for good after a month, in a bucket with versioning
  zrb.fleet.s3_lifecycle:
    bucket: my-backup-bucket
    endpoint_url: https://s3.example.org
    prefix: zfs-backups/
    rules:
      - id: zrb-archive
        prefix: zfs-backups/data/
        object_size_greater_than: 1048576
        transitions:
          - storage_class: STANDARD_IA
            days: 30
          - storage_class: DEEP_ARCHIVE
            days: 90
      - id: zrb-deleted-for-good
        noncurrent_version_expiration_days: 30
        expired_object_delete_marker: true

- name: Have no other rules than this one
  zrb.fleet.s3_lifecycle:
    bucket: my-backup-bucket
    purge: true
    rules:
      - id: zrb-abort-incomplete-uploads
        abort_incomplete_multipart_upload_days: 14

- name: Remove a rule
  zrb.fleet.s3_lifecycle:
    bucket: my-backup-bucket
    state: absent
    rules:
      - id: zrb-archive
"""

RETURN = r"""
bucket:
  description: Name of the bucket.
  returned: success
  type: str
  sample: my-backup-bucket
rules:
  description:
    - All rules that the bucket has afterwards, or would have in check mode, also those that are not named in O(rules).
    - Their fields are those of O(rules); what is not set is left out.
  returned: success
  type: list
  elements: dict
  sample:
    - id: zrb-abort-incomplete-uploads
      enabled: true
      prefix: ""
      abort_incomplete_multipart_upload_days: 14
error:
  description: Kind of the failure, such as V(NoSuchDataset).
  returned: failure
  type: str
  sample: NoSuchDataset
exit_code:
  description: The exit code that the C(zrb) command has for this failure.
  returned: failure
  type: int
  sample: 6
problem:
  description: What was tried, and on which object.
  returned: failure
  type: str
  sample: The dataset tank/hom does not exist
subject:
  description: The object alone.
  returned: failure
  type: str
  sample: tank/hom
answer:
  description: What ZFS, S3 or the operating system said.
  returned: failure
  type: str
  sample: "cannot open 'tank/hom': dataset does not exist"
next_step:
  description: What to do about it.
  returned: failure
  type: str
  sample: Check the name with `zfs list`
"""

from ..module_utils._ansible.arguments import LIFECYCLE
from ..module_utils._ansible.requirements import require
from ..module_utils._ansible.results import end


def main() -> None:
    """Run the module."""
    module = LIFECYCLE.create_module()
    require(module, "boto3")
    # Only now, since what it imports needs the Python that was asked for.
    from ..module_utils._ansible.bucket_lifecycle import ensure_lifecycle

    end(module, ensure_lifecycle)


if __name__ == "__main__":
    main()
