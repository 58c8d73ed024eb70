# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The README of each role, written from its argument specification: ``make readmes``. A test compares them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
_PAGE = "https://github.com/zrb-fleet/zrb.fleet/blob/main/docs/fleet.md"
_MARKUP = re.compile(r"\b(?:RV|[OVCMP])\(((?:[^()#\\]|\\.)+)(?:#[a-z]+)?\)")


def specification(role: Path) -> dict[str, Any]:
    """What ``meta/argument_specs.yml`` says of the role's entry point."""
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))
    main: dict[str, Any] = specs["argument_specs"]["main"]
    return main


def readme_of(role: Path) -> str:
    """The text of the role's README.md."""
    spec = specification(role)
    lines = [f"# Role zrb.fleet.{role.name}", "", f"{spec['short_description']}."]
    for paragraph in spec["description"]:
        lines += ["", _plain(paragraph)]
    lines += ["", "## Variables", "", "| variable | type | default | meaning |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in _rows(spec["options"])]
    lines += ["", f"[Deploy a fleet]({_PAGE}) shows the roles at work."]
    return "\n".join(lines) + "\n"


def _rows(options: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, ...]]:
    for name, option in options.items():
        kind = option["type"] if "elements" not in option else f"{option['type']} of {option['elements']}"
        default = f"`{_shown(option['default'])}`" if "default" in option else ""
        if option.get("required"):
            default = "required"
        meaning = " ".join(_plain(sentence) for sentence in option["description"])
        if "choices" in option:
            meaning = f"One of {', '.join(f'`{choice}`' for choice in option['choices'])}. {meaning}"
        yield f"`{above}{name}`", kind, default, meaning.replace("|", "\\|")
        yield from _rows(option.get("options", {}), f"{above}{name}.")


def _shown(value: object) -> str:
    """A value as YAML writes it in one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")


def _plain(text: str) -> str:
    """Ansible's markup as that of Markdown."""
    return _MARKUP.sub(lambda found: f"`{found[1]}`", text)


if __name__ == "__main__":
    for place in ROLES:
        (place / "README.md").write_text(readme_of(place), encoding="utf-8")
