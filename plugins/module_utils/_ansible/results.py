# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module ends. Runs on any Python that Ansible does: see ``argument_spec``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._engine.errors import EngineError, Explained
from .wording import in_words_of_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

    from ansible.module_utils.basic import AnsibleModule


def end(module: AnsibleModule, run: Callable[[AnsibleModule], dict[str, Any]]) -> NoReturn:
    """End the module with what ``run`` returns, or with the engine's error that it raises."""
    try:
        result = run(module)
    except EngineError as error:
        fail_from(module, error)
    module.exit_json(**result)
    raise AssertionError("exit_json does not return")


def fail_from(module: AnsibleModule, error: Explained, **results: Any) -> NoReturn:
    """End the module with what the engine has to say: the message, and its parts for machines."""
    module.fail_json(msg=in_words_of_modules(error.explain()), **facts_of(error), **results)
    raise AssertionError("fail_json does not return")


def facts_of(error: Explained) -> dict[str, Any]:
    """The parts of an error's message, in the words of modules. What another program answered stays as it is."""
    facts = error.facts()
    return {**facts, **{key: in_words_of_modules(str(facts[key])) for key in ("problem", "next_step")}}


def pass_on_warnings(module: AnsibleModule, warnings: Iterable[str]) -> None:
    """Show the engine's warnings as Ansible shows warnings, each once."""
    for warning in dict.fromkeys(warnings):
        module.warn(in_words_of_modules(warning))
