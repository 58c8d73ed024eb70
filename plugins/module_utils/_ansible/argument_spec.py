# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Argument specifications that compose. Their documentation twins are in ``plugins/doc_fragments``.

This file, and what else a module imports before it has checked its interpreter, runs on any Python that Ansible does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from typing import Any

    Option = dict[str, Any]


@dataclass(frozen=True)
class ArgumentSpec:
    """Options and the rules between them. Values of this class are never changed, only joined to new ones."""

    options: dict[str, Option] = field(default_factory=dict)
    mutually_exclusive: tuple[tuple[str, ...], ...] = ()
    required_one_of: tuple[tuple[str, ...], ...] = ()
    required_together: tuple[tuple[str, ...], ...] = ()
    required_by: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __add__(self, other: ArgumentSpec) -> ArgumentSpec:
        """Both together; an option that both have is a mistake of the module's author."""
        twice = self.options.keys() & other.options.keys()
        if twice:
            raise ValueError(f"Options specified twice: {', '.join(sorted(twice))}")
        return ArgumentSpec(
            options={**self.options, **other.options},
            mutually_exclusive=self.mutually_exclusive + other.mutually_exclusive,
            required_one_of=self.required_one_of + other.required_one_of,
            required_together=self.required_together + other.required_together,
            required_by={**self.required_by, **other.required_by},
        )

    def create_module(self, **arguments: Any) -> AnsibleModule:
        """The :class:`AnsibleModule` of these options; all modules of this collection have check mode."""
        return AnsibleModule(
            argument_spec=self.options,
            mutually_exclusive=self.mutually_exclusive,
            required_one_of=self.required_one_of,
            required_together=self.required_together,
            required_by=self.required_by,
            supports_check_mode=True,
            **arguments,
        )
