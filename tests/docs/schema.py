# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JSON Schemas in docs/, generated from the fields of the records; ``make schema`` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zrb.values import field_types
from zrb.values.json_records import schema_of
from zrb.values.manifest import Manifest, Part
from zrb.values.retirement_json import RetirementRecord

DOCS = Path(__file__).parents[2] / "docs"
WORDS: dict[str, dict[str, Any]] = {
    name: rule.schema for name, word in vars(field_types).items() for rule in getattr(word, "__metadata__", ())
}
"""The vocabulary: each word becomes a definition of the schema."""


def schemas() -> dict[str, dict[str, Any]]:
    """Every published schema, by the name of its file."""
    return {
        "manifest.schema.json": _schema(
            Manifest, "urn:zrb:manifest:1", "Payload of a zrb manifest, format 1", allOf=_BETWEEN_FIELDS
        ),
        "part.schema.json": _schema(Part, "urn:zrb:part:1", "A line of a list of parts, format 1"),
        "retirement.schema.json": _schema(
            RetirementRecord, "urn:zrb:retirement:1", "Payload of a zrb retirement record, format 1"
        ),
    }


def _schema(kind: type[Any], identity: str, title: str, **more: Any) -> dict[str, Any]:
    body = {**_named(schema_of(kind)), **more}
    definitions = {name: {key: _named(part) for key, part in schema.items()} for name, schema in WORDS.items()}
    used = json.dumps([body, definitions["Texts"]] if "Texts" in json.dumps(body) else body)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": identity,
        "title": title,
        "description": "Generated. docs/format.md has the rules between fields, which readers check too.",
        **body,
        "$defs": {name: one for name, one in definitions.items() if f'#/$defs/{name}"' in used},
    }


_BETWEEN_FIELDS = [
    {
        "description": "A level 0 has no base, any other level has one.",
        "oneOf": [
            {"properties": {"level": {"const": 0}, "base": {"type": "null"}}},
            {"properties": {"level": {"minimum": 1}, "base": {"type": "object"}}},
        ],
    },
    {
        "description": "The first backup of a series names no previous one; a later one only if it was lost.",
        "oneOf": [
            {"properties": {"seq": {"const": 1}, "previous": {"type": "null"}}},
            {"properties": {"seq": {"minimum": 2}}},
        ],
    },
]


def laid_out(value: object, indent: str = "") -> str:
    """``value`` as JSON for readers: what fits stands on one line."""
    line = json.dumps(value)
    if len(indent) + len(line) <= 116 or not isinstance(value, dict | list):
        return line
    deeper = f"{indent}  "
    if isinstance(value, dict):
        entries = [f"{json.dumps(name)}: {laid_out(entry, deeper)}" for name, entry in value.items()]
    else:
        entries = [laid_out(entry, deeper) for entry in value]
    begin, end = "{}" if isinstance(value, dict) else "[]"
    return f"{begin}\n{deeper}" + f",\n{deeper}".join(entries) + f"\n{indent}{end}"


def _named(schema: Any) -> Any:
    """``schema`` with a reference for each word of the vocabulary."""
    if not isinstance(schema, dict):
        return [_named(entry) for entry in schema] if isinstance(schema, list) else schema
    word = next((name for name, one in WORDS.items() if one is schema), None)
    return {"$ref": f"#/$defs/{word}"} if word else {name: _named(entry) for name, entry in schema.items()}


if __name__ == "__main__":
    for file_name, schema in schemas().items():
        (DOCS / file_name).write_text(laid_out(schema) + "\n", encoding="utf-8")
