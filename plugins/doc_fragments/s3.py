# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options of a connection to S3. Twin of ``module_utils/_ansible/arguments.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as ``zrb.fleet.s3``."""

    DOCUMENTATION = r"""
options:
  access_key:
    description:
      - Access key, together with O(secret_key).
      - If unset, credentials come from the environment, from C(/etc/zrb/credentials) or the shared credentials file of
        the AWS tools, or from the instance role, all on the machine that the module runs on.
    type: str
  secret_key:
    description:
      - Secret key that belongs to O(access_key).
    type: str
  session_token:
    description:
      - Token that belongs to temporary credentials.
    type: str
  profile:
    description:
      - Profile in the AWS configuration files.
    type: str
  region:
    description:
      - Region of the bucket.
      - If unset, V(us-east-1), unless a configuration file says otherwise.
    type: str
  endpoint_url:
    description:
      - URL of an S3 service other than AWS, such as V(https://s3.example.org). Buckets are then addressed by path.
    type: str
  aws_ca_bundle:
    description:
      - File with the certificates of the authorities to trust, on the machine that the module runs on.
    type: path
  validate_certs:
    description:
      - V(false) accepts any certificate, so that anyone in between can read and change what is transferred. The module
        warns about this on each run. For a certificate of your own authority, set O(aws_ca_bundle) instead.
    type: bool
    default: true
"""
