# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Key files as a state to be ensured: what ``age_keygen`` and ``signing_keygen`` share."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import KeyFileError
from .._engine.run.keys import KeyWritten, write_age_key, write_signing_key

Diff = dict[str, dict[str, Any]]


def ensure_age_key(module: AnsibleModule) -> dict[str, Any]:
    """The result of ``age_keygen``. Raises ``KeyFileError``."""
    return _ensure_key(module, partial(write_age_key, kind=module.params["type"]))


def ensure_signing_key(module: AnsibleModule) -> dict[str, Any]:
    """The result of ``signing_keygen``. Raises ``KeyFileError``."""
    return _ensure_key(module, partial(write_signing_key, kind=module.params["type"]))


def _ensure_key(module: AnsibleModule, write_key: Callable[[Path], KeyWritten]) -> dict[str, Any]:
    """Make the key file unless it is there, set the permissions that are given, and tell the public key.

    ``write_key`` never overwrites: of a file that is there it reads the public key. Neither the result nor the diff
    holds the private key.
    """
    path = Path(module.params["path"])
    result: dict[str, Any] = {"changed": True, "path": str(path), "public_key": None}
    if os.path.lexists(path):
        diff: Diff = {"before": {"path": str(path)}, "after": {"path": str(path)}}
        result["changed"] = _set_attributes(module, diff)
        result["public_key"] = _public_key(
            path, write_key, permissions_will_change=module.check_mode and result["changed"]
        )
    else:
        diff = {"before": {"path": str(path), "state": "absent"}, "after": {"path": str(path), "state": "file"}}
        if not module.check_mode:
            # Made with mode 0600, which it keeps if no mode is given.
            result["public_key"] = diff["after"]["public_key"] = write_key(path).public
            _set_attributes(module, {})
    return {**result, "diff": diff} if result["changed"] else result


def _public_key(path: Path, write_key: Callable[[Path], KeyWritten], *, permissions_will_change: bool) -> str | None:
    try:
        return write_key(path).public
    except KeyFileError:
        # Others can read the file now, and could not if this were no check.
        if permissions_will_change and path.is_file() and path.stat().st_mode & 0o077:
            return None
        raise


def _set_attributes(module: AnsibleModule, diff: Diff) -> bool:
    wanted = module.load_file_common_arguments(module.params)
    changed: bool = module.set_fs_attributes_if_different(wanted, False, diff)
    return changed
