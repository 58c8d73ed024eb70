# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options of a connection to S3. Twin of ``module_utils/_ansible/s3_options.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as ``zrb.fleet.s3``."""

    DOCUMENTATION = r"""
options:
  access_key:
    description:
      - Access key, on which O(secret_key) must follow. Without it, credentials come from where the AWS tools look, on
        the machine that the module runs on (environment, shared credentials file, instance role), and from
        C(/etc/zrb/credentials) where that file exists.
    type: str
  secret_key:
    description:
      - Secret key that belongs to O(access_key).
    type: str
  session_token:
    description:
      - Token that goes with temporary credentials.
    type: str
  profile:
    description:
      - Profile of the AWS configuration files.
    type: str
  region:
    description:
      - Region of the bucket. The default is V(us-east-1).
    type: str
  endpoint_url:
    description:
      - URL of a service that is not that of AWS, such as V(https://s3.example.org). Buckets are then addressed by path.
    type: str
  aws_ca_bundle:
    description:
      - File, on the machine that the module runs on, with the certificates of the authorities to trust.
    type: path
  validate_certs:
    description:
      - V(false) accepts any certificate, so that anybody in between can read and change what is transferred. The module
        warns of it each time. For a certificate of your own authority, set O(aws_ca_bundle) instead.
    type: bool
    default: true
requirements:
  - boto3 >= 1.36
"""
