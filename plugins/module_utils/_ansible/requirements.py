# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Libraries that the engine needs on the target machine. Twin of the requirements in the documentation."""

from __future__ import annotations

import importlib
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

LIBRARIES = {
    "bitmath": "bitmath >= 2.0",
    "blake3": "blake3 >= 1.0",
    "boto3": "boto3 >= 1.36",
    "cryptography": "cryptography >= 42",
    "jmespath": "jmespath >= 1.0",
    "yaml": "PyYAML >= 6.0",
}
"""Import name to requirement."""


def require(module: AnsibleModule, *names: str) -> None:
    """End the module, saying what to install for which interpreter, where one of the libraries is missing."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            module.fail_json(msg=missing_required_lib(LIBRARIES[name]), exception=traceback.format_exc())


def require_engine(module: AnsibleModule) -> None:
    """The same for all that reading and writing a repository needs."""
    names = ["bitmath", "blake3", "cryptography", "yaml"]
    if module.params["bucket"] is not None:
        names.append("boto3")
    require(module, *names)
