# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module ends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import EngineError


def fail_from(module: AnsibleModule, error: EngineError, **results: Any) -> NoReturn:
    """End the module with what the engine has to say: the message, and its parts for machines."""
    module.fail_json(msg=error.explain(), **error.facts(), **results)
    raise AssertionError("fail_json does not return")


def pass_on_warnings(module: AnsibleModule, warnings: Iterable[str]) -> None:
    """Show the engine's warnings as Ansible shows warnings, each once."""
    for warning in dict.fromkeys(warnings):
        module.warn(warning)
