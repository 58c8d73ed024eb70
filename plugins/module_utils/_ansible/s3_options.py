# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a connection to S3, named as in amazon.aws. Twin of ``plugins/doc_fragments/s3.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.values.config import S3Credentials, S3Settings
from .argument_spec import ArgumentSpec, Option

S3_CONNECTION: dict[str, Option] = {
    "access_key": {"type": "str", "no_log": False},
    "secret_key": {"type": "str", "no_log": True},
    "session_token": {"type": "str", "no_log": True},
    "profile": {"type": "str"},
    "region": {"type": "str"},
    "endpoint_url": {"type": "str"},
    "aws_ca_bundle": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
}

S3 = ArgumentSpec(
    options=S3_CONNECTION,
    mutually_exclusive=(("profile", "access_key"),),
    required_together=(("access_key", "secret_key"),),
    required_by={"session_token": ("access_key",)},
)
"""The options and the rules between them, for modules that have no configuration file."""


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
