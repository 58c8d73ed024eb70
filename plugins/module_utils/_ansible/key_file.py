# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Key files as a state to be ensured: what ``age_keygen`` and ``signing_keygen`` share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.run.keys import KeyWritten
from .argument_spec import ArgumentSpec

KEY_FILE = ArgumentSpec(options={"path": {"type": "path", "required": True}})
AGE_KEY_FILE = KEY_FILE + ArgumentSpec(
    options={"type": {"type": "str", "choices": ["hybrid", "classic"], "default": "hybrid"}}
)
PRIVATE_MODE = "0600"


def create_key_module(spec: ArgumentSpec = KEY_FILE) -> AnsibleModule:
    """A module with the options of a key file and those that every Ansible module for files has."""
    return spec.create_module(add_file_common_args=True)


def ensure_key(module: AnsibleModule, write_key: Callable[[Path], KeyWritten]) -> dict[str, Any]:
    """Make the key file unless it is there, set its permissions, and tell the public key.

    ``write_key`` never overwrites: of a file that is there it reads the public key. The result and the diff
    never hold the private key. Raises what ``write_key`` raises.
    """
    path = Path(module.params["path"])
    present = os.path.lexists(path)
    changed = present and _set_attributes(module)
    public_key = None
    if present or not module.check_mode:
        public_key = write_key(path).public
    if not present and not module.check_mode:
        _set_attributes(module)
    result = {"changed": changed or not present, "path": str(path), "public_key": public_key}
    if not present:
        after = {"path": str(path), "state": "file"} | ({"public_key": public_key} if public_key else {})
        result["diff"] = {"before": {"path": str(path), "state": "absent"}, "after": after}
    return result


def _set_attributes(module: AnsibleModule) -> bool:
    wanted = dict(module.params)
    if wanted["mode"] is None:
        wanted["mode"] = PRIVATE_MODE
    changed: bool = module.set_fs_attributes_if_different(module.load_file_common_arguments(wanted), False)
    return changed
