# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restore for a module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.config.key_files import read_identities
from .._engine.errors import UsageError
from .._engine.run.context import Context
from .._engine.run.restore import RestoreSelection, plan_restore, restore, restored_guid
from .engine_config import Params
from .results import pass_on_warnings
from .times import parse_moment


def restored_before(module: AnsibleModule, context: Context) -> dict[str, Any] | None:
    """The result of ``zfs_restore`` if that was done before. Raises what the engine raises."""
    params = module.params
    guid = restored_guid(
        context, _selection(params), trusted=context.trusted_signers(), allow_unsigned=params["allow_unsigned"]
    )
    return None if guid is None else {"changed": False, "snapshot_guid": guid}


def run_restore(module: AnsibleModule, context: Context) -> dict[str, Any]:
    """The result of ``zfs_restore`` if there is something to restore. Raises what the engine raises."""
    params = module.params
    selection = _selection(params)
    trusted, allow_unsigned = context.trusted_signers(), params["allow_unsigned"]
    if module.check_mode:
        plan = plan_restore(context, selection, trusted=trusted, allow_unsigned=allow_unsigned).as_json()
        pass_on_warnings(module, plan["warnings"])
        present = [link["backup_id"] for link in plan["links"] if link["present"]]
        missing = [link["backup_id"] for link in plan["links"] if not link["present"]]
        return {"changed": True, "plan": plan, "diff": _diff(plan["target"], present, missing)}
    identities = _identities(params)
    result = restore(
        context, selection, identities=identities, trusted=trusted, allow_unsigned=allow_unsigned
    ).as_json()
    pass_on_warnings(module, result["warnings"])
    return {
        "changed": result["changed"],
        "restored": result,
        "diff": _diff(result["target"], result["present"], result["links"]),
    }


def _selection(params: Params) -> RestoreSelection:
    return RestoreSelection(
        dataset=params["dataset"],
        target=params["target"],
        host=params["host"],
        level=params["level"],
        backup_id=params["backup_id"],
        at=parse_moment(params["at"], option="at") if params["at"] is not None else None,
        only=params["only"],
        continues=params["continue"],
    )


def _identities(params: Params) -> list[str]:
    if params["private_key"] is None:
        raise UsageError(
            "A restore needs the private age key",
            subject="private_key",
            next_step="Give the path of its file as private_key; check mode works without it",
        )
    return read_identities(Path(params["private_key"]))


def _diff(target: str, present: list[str], links: list[str]) -> dict[str, dict[str, Any]]:
    return {"before": {"target": target, "restored": present}, "after": {"target": target, "restored": present + links}}
