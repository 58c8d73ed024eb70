# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Translates lifecycle rules between the XML of S3 and the options of the module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from ..values.lifecycle_rule import LifecycleRule

# Option, and its place in the XML.
_ACTIONS = {
    "expiration_days": "Expiration/Days",
    "expiration_date": "Expiration/Date",
    "expired_object_delete_marker": "Expiration/ExpiredObjectDeleteMarker",
    "noncurrent_version_expiration_days": "NoncurrentVersionExpiration/NoncurrentDays",
    "newer_noncurrent_versions": "NoncurrentVersionExpiration/NewerNoncurrentVersions",
    "abort_incomplete_multipart_upload_days": "AbortIncompleteMultipartUpload/DaysAfterInitiation",
}
_STEPS = {
    "transitions": ("Transition", {"days": "Days", "date": "Date", "storage_class": "StorageClass"}),
    "noncurrent_version_transitions": (
        "NoncurrentVersionTransition",
        {
            "days": "NoncurrentDays",
            "newer_noncurrent_versions": "NewerNoncurrentVersions",
            "storage_class": "StorageClass",
        },
    ),
}
_CONDITIONS = {
    "prefix": "Prefix",
    "object_size_greater_than": "ObjectSizeGreaterThan",
    "object_size_less_than": "ObjectSizeLessThan",
}


def rule_from_xml(xml: str) -> LifecycleRule:
    """Read an element ``Rule``. Old ones have ``Prefix``, newer ones ``Filter``, with or without ``And``, and there
    are several ways to leave a value out."""
    rule = ET.fromstring(xml)  # noqa: S314 - botocore has parsed it before
    conditions = next((found for path in ("Filter/And", "Filter") if (found := rule.find(path)) is not None), rule)
    options: dict[str, Any] = {
        "id": rule.findtext("ID") or "",
        "enabled": rule.findtext("Status") == "Enabled",
        **_read(conditions, _CONDITIONS),
        "tags": {tag.findtext("Key", ""): tag.findtext("Value") or "" for tag in conditions.findall("Tag")},
        **_read(rule, _ACTIONS),
        **{name: [_read(step, fields) for step in rule.findall(tag)] for name, (tag, fields) in _STEPS.items()},
    }
    if not options.get("prefix"):
        options["prefix"] = rule.findtext("Prefix") or ""
    return LifecycleRule.of(options, xml=xml)


def rule_to_xml(rule: LifecycleRule) -> str:
    """The element ``Rule`` for S3, in the endpoint's own form if it has the rule already."""
    element = ET.fromstring(rule.xml) if rule.xml else _element_of(rule.options)  # noqa: S314 - as above
    old_prefix = element.find("Prefix")
    if old_prefix is not None:  # from S3's first version, which S3 does not accept together with filters
        element.remove(old_prefix)
        if element.find("Filter") is None:
            ET.SubElement(element, "Filter").append(old_prefix)
    return ET.tostring(element, encoding="unicode")


def _element_of(options: Mapping[str, Any]) -> ET.Element:
    rule = ET.Element("Rule")
    ET.SubElement(rule, "ID").text = options["id"]
    where = ET.SubElement(rule, "Filter")
    conditions = {name: path for name, path in _CONDITIONS.items() if options.get(name) not in (None, "")}
    tags = options.get("tags", {})
    if len(conditions) + len(tags) > 1:
        where = ET.SubElement(where, "And")
    _write(where, options, conditions if conditions or tags else {"prefix": "Prefix"})
    for key, value in tags.items():
        tag = ET.SubElement(where, "Tag")
        ET.SubElement(tag, "Key").text, ET.SubElement(tag, "Value").text = key, value
    ET.SubElement(rule, "Status").text = "Enabled" if options["enabled"] else "Disabled"
    for name, (tag_name, fields) in _STEPS.items():
        for step in options.get(name, ()):
            _write(ET.SubElement(rule, tag_name), step, fields)
    _write(rule, options, _ACTIONS)
    return rule


def _read(element: ET.Element, fields: Mapping[str, str]) -> dict[str, Any]:
    return {name: _value(name, text) for name, path in fields.items() if (text := element.findtext(path))}


def _write(element: ET.Element, options: Mapping[str, Any], fields: Mapping[str, str]) -> None:
    for name, path in fields.items():
        if name in options:
            parent, _separator, tag = path.rpartition("/")
            holder = element if not parent else element.find(parent)
            if holder is None:
                holder = ET.SubElement(element, parent)
            ET.SubElement(holder, tag).text = _text(name, options[name])


def _value(name: str, text: str) -> Any:
    if name in ("prefix", "storage_class"):
        return text
    if name.endswith("date"):
        return text[:10]
    return text.lower() == "true" if name == "expired_object_delete_marker" else int(text)


def _text(name: str, value: Any) -> str:
    return f"{value}T00:00:00Z" if name.endswith("date") else str(value).lower() if value is True else str(value)
