# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the options of a connection to S3 mean to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.values.config import S3Credentials, S3Settings


def s3_settings(params: Mapping[str, Any], **more: Any) -> S3Settings:
    """What the connection options of a module say; ``more`` are other fields of the settings, such as ``bucket``."""
    credentials = None
    if params["access_key"] is not None:
        credentials = S3Credentials(params["access_key"], params["secret_key"], params["session_token"])
    given = {
        "profile": params["profile"],
        "region": params["region"],
        "endpoint": params["endpoint_url"],
        "ca_bundle": params["aws_ca_bundle"],
    }
    return S3Settings(
        **{name: value for name, value in given.items() if value},
        **more,
        validate_certs=params["validate_certs"],
        credentials=credentials,
    )


def warn_if_unverified(module: AnsibleModule) -> None:
    """Say what it means to accept any certificate. Every module with these options calls this."""
    if module.params["validate_certs"] is False:
        module.warn(
            "validate_certs is false: whoever is between this machine and the endpoint can read and change what is "
            "transferred. For a certificate of your own CA, set aws_ca_bundle instead."
        )
