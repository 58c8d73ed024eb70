# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the pages of reference that the code holds itself. Usage: ``reference.py DIRECTORY``.

``zrb.md`` is what ``zrb --help`` and ``zrb COMMAND --help`` print; ``modules.md`` and a page for each module are what
``ansible-doc`` knows.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from antsibull_docs_parser import dom
from antsibull_docs_parser.format import LinkProvider
from antsibull_docs_parser.md import MDFormatter, to_md
from antsibull_docs_parser.parser import Context, parse

COLLECTION = "zrb.fleet"


def printed(*command: str) -> str:
    """What a command prints, on a terminal 100 columns wide."""
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def fenced(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.strip()}\n```"


def page_of_the_command() -> str:
    """All help texts of ``zrb``."""
    overview = printed("zrb", "--help")
    commands = re.findall(r"^    ([a-z-]+)(?:  |$)", overview, re.MULTILINE)
    sections = ["# Help texts of zrb", fenced("text", overview)]
    for command in commands:
        sections += [f"## zrb {command}", fenced("text", printed("zrb", command, "--help"))]
    return "\n\n".join(sections) + "\n"


class Links(LinkProvider):
    """Where the pages of modules are, and what they call their parts."""

    def plugin_link(self, plugin: dom.PluginIdentifier) -> str | None:
        collection, _, name = plugin.fqcn.rpartition(".")
        return f"{name}.md" if collection == COLLECTION else None

    def plugin_option_like_link(
        self, plugin: dom.PluginIdentifier, entrypoint: str | None, what: str, name: list[str], current_plugin: bool
    ) -> str | None:
        page = self.plugin_link(plugin)
        return page and f"{page}#{anchor(page.removesuffix('.md'), what, name)}"


class Markup(MDFormatter):
    """Ansible's markup as Markdown, whose links Sphinx checks."""

    def format_code(self, part: dom.CodePart) -> str:
        return f"`{part.text}`"

    def format_env_variable(self, part: dom.EnvVariablePart) -> str:
        return f"`{part.name}`"

    def format_option_value(self, part: dom.OptionValuePart) -> str:
        return f"`{part.value}`"

    def format_option_name(self, part: dom.OptionNamePart, url: str | None) -> str:
        return self._named(part, url)

    def format_return_value(self, part: dom.ReturnValuePart, url: str | None) -> str:
        return self._named(part, url)

    @staticmethod
    def _named(part: dom.OptionNamePart | dom.ReturnValuePart, url: str | None) -> str:
        text = f"`{part.name}`" if part.value is None else f"`{part.name}={part.value}`"
        return f"[{text}]({url})" if url else text


def anchor(module: str, what: str, path: list[str]) -> str:
    """The name of an option (``option``) or of a value that is returned (``retval``), within the site."""
    return "-".join([module, what, *path])


class Module:
    """One module, out of what ansible-doc says of it."""

    def __init__(self, documentation: dict[str, Any]) -> None:
        self._all = documentation
        self._doc = documentation["doc"]
        self.name = self._doc["module"]
        self._plugin = dom.PluginIdentifier(fqcn=f"{COLLECTION}.{self.name}", type="module")

    @property
    def short_description(self) -> str:
        """One line, without a full stop."""
        return self._text(self._doc["short_description"])

    def page(self) -> str:
        """The whole page."""
        sections = [f"# {self.name}", f"{self.short_description}.", *map(self._text, self._doc["description"])]
        sections += ["## Examples", fenced("yaml", self._all["examples"])]
        sections += ["## Options", *self._items("option", self._doc["options"], "suboptions")]
        if self._all["return"]:
            sections += ["## What it returns", *self._items("retval", self._all["return"], "contains")]
        sections += ["## What it supports", *self._attributes()]
        if self._doc.get("notes"):
            sections += ["## Notes", *(f"- {self._text(note)}" for note in self._doc["notes"])]
        sections += ["## What it needs", "\n".join(f"- {self._text(need)}" for need in self._doc["requirements"])]
        if self._doc.get("seealso"):
            sections += [
                "## See also",
                "\n".join(f"- {self._text('M(' + other['module'] + ')')}" for other in self._doc["seealso"]),
            ]
        return "\n\n".join(sections) + "\n"

    def _text(self, text: str) -> str:
        paragraphs = parse(text, Context(current_plugin=self._plugin), errors="exception")
        return to_md(paragraphs, formatter=Markup(), link_provider=Links(), current_plugin=self._plugin)

    def _items(self, what: str, items: dict[str, Any], below: str, path: tuple[str, ...] = ()) -> list[str]:
        """A definition list: what must be given first, the others by name."""
        listed = []
        for name, item in sorted(items.items(), key=lambda pair: (not pair[1].get("required", False), pair[0])):
            said = [self._text(text) for text in _as_list(item["description"])]
            if item.get("choices"):
                said.append("One of " + ", ".join(f"`{_yaml(choice)}`" for choice in item["choices"]) + ".")
            if item.get("default") is not None:
                said.append(f"Default: `{_yaml(item['default'])}`")
            if item.get("aliases"):
                said.append("Also called " + ", ".join(f"`{alias}`" for alias in item["aliases"]) + ".")
            if item.get("returned"):
                said.append(f"Returned {self._text(item['returned'])}.")
            if "sample" in item and not item.get(below):
                said.append(f"Such as `{_yaml(item['sample'])}`")
            said += self._items(what, item.get(below) or {}, below, (*path, name))
            kind = f"*{_kind(item)}*" + (", **required**" if item.get("required") else "")
            listed.append(f"`{name}`{{#{anchor(self.name, what, [*path, name])}}} {kind}\n" + _definition(said))
        return listed

    def _attributes(self) -> list[str]:
        listed = []
        for name, attribute in self._doc["attributes"].items():
            said = _as_list(attribute["description"]) + _as_list(attribute.get("details") or [])
            listed.append(f"`{name}` *{attribute['support']}*\n" + _definition([self._text(text) for text in said]))
        return listed


def _definition(paragraphs: list[str]) -> str:
    """What follows the term in a definition list."""
    indented = "\n\n".join(paragraphs).replace("\n", "\n    ")
    return ":   " + re.sub(r"^ +$", "", indented, flags=re.MULTILINE)


def _kind(item: dict[str, Any]) -> str:
    return f"{item['type']} of {item['elements']}" if item.get("elements") else item["type"]


def _as_list(text: str | list[str]) -> list[str]:
    return [text] if isinstance(text, str) else text


def _yaml(value: object) -> str:
    """A value on one line, as a playbook would have it."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True).removesuffix("\n...\n").strip()
    )


def modules() -> list[Module]:
    """All modules of the collection, by name."""
    kinds = json.loads(printed("ansible-doc", "--metadata-dump", COLLECTION))["all"]
    others = sorted(
        kind for kind, members in kinds.items() if members and kind not in {"module", "keyword", "role"}
    )  # a role has a README
    if others:
        raise NotImplementedError(f"{__file__} makes no pages of {', '.join(others)} yet")
    return [Module(documentation) for _, documentation in sorted(kinds["module"].items())]


def main(directory: Path) -> None:
    """Write all pages."""
    directory.mkdir(parents=True)
    (directory / "zrb.md").write_text(page_of_the_command(), encoding="utf-8")
    every = modules()
    for module in every:
        (directory / f"{module.name}.md").write_text(module.page(), encoding="utf-8")
    rows = [f"| [{module.name}]({module.name}.md) | {module.short_description} |" for module in every]
    names = [module.name for module in every]
    contents = ["# Ansible modules", "\n".join(["| module | what it does |", "|---|---|", *rows])]
    contents.append("\n".join(["```{toctree}", ":hidden:", "", *names, "```"]))
    (directory / "modules.md").write_text("\n\n".join(contents) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
