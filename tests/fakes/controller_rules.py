# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX refuses of surveys, answers, schedules and types of credentials, as far as zrb.fleet.awx uses them."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

Item = dict[str, Any]
SURVEY_TYPES = {"text": str, "multiplechoice": str, "integer": int}


class Refused(Exception):
    """What AWX answers with a status that is no success."""

    def __init__(self, problem: str, status: int = 400) -> None:
        super().__init__(problem)
        self.status = status


def check_survey(survey: Item) -> None:
    """Refuse a survey that is malformed, or whose defaults it would refuse as answers."""
    if not all(isinstance(survey.get(name), str) for name in ("name", "description")) or not survey.get("spec"):
        raise Refused("a survey has a name, a description and questions")
    variables = [question.get("variable") for question in survey["spec"]]
    if len(set(variables)) < len(variables):
        raise Refused("a variable is asked for twice")
    for question in survey["spec"]:
        texts = [question.get(name) for name in ("type", "question_name", "variable")]
        bounds = [question.get(name, 0) for name in ("min", "max")]
        if (
            not all(isinstance(text, str) for text in texts)
            or not all(isinstance(bound, int) for bound in bounds)
            or not isinstance(question.get("required"), bool)
            or question["type"] not in SURVEY_TYPES
        ):
            raise Refused(f"malformed question {question}")
        default = question.get("default", "")
        if default != "" and not isinstance(default, SURVEY_TYPES[question["type"]]):
            raise Refused(f"the default of {question['variable']} is of another type")
        if question["type"] == "multiplechoice" and default not in question["choices"]:
            raise Refused(f"the default of {question['variable']} is no choice")


def answered(survey: Item, answers: Item) -> Item:
    """The variables of a job that is started with ``answers``: defaults in the places of what is not answered."""
    if unknown := answers.keys() - {question["variable"] for question in survey.get("spec", ())}:
        raise Refused(f"Variables {unknown} are not allowed on launch")
    said = {
        question["variable"]: question["default"]
        for question in survey.get("spec", ())
        if question.get("default", "") != ""
    }
    said |= answers
    for question in survey.get("spec", ()):
        value = said.get(question["variable"], "")
        if value != "":
            _check_answer(question, value)
        elif question["required"]:
            raise Refused(f"'{question['variable']}' value missing")
    return said


def _check_answer(question: Item, value: Any) -> None:
    if not isinstance(value, SURVEY_TYPES[question["type"]]):
        raise Refused(f"{value!r} for '{question['variable']}' is of another type")
    if question["type"] == "multiplechoice":
        if value not in question["choices"]:
            raise Refused(f"{value!r} for '{question['variable']}' is no choice")
    elif not question["min"] <= (value if question["type"] == "integer" else len(value)) <= question["max"]:
        raise Refused(f"{value!r} for '{question['variable']}' is out of bounds")


def check_rule(rule: str) -> None:
    """Refuse the rule of a schedule."""
    if len(re.findall(r"DTSTART(;[^:]+)?:[0-9]+T[0-9]+Z?", rule)) != 1:
        raise Refused("one DTSTART is required in rrule")
    if re.search(r"DTSTART:[0-9]+T[0-9]+ ", rule):
        raise Refused("DTSTART cannot be a naive datetime")
    rules = re.findall(r"RRULE:\S*", rule)
    if not rules or not all("INTERVAL=" in one for one in rules) or "SECONDLY" in rule:
        raise Refused("INTERVAL required in rrule")
    if re.search(r"BYDAY=[0-9]", rule):
        raise Refused("BYDAY with numeric prefix not supported")


def check_credential_type(item: Item) -> None:
    """Refuse inputs that are malformed, and injectors that speak of others. Fields without a type become strings."""
    if item["kind"] not in {"cloud", "net"}:
        raise Refused("the kind of a custom type is cloud or net")
    fields = item["inputs"].get("fields", ())
    for one in fields:
        if not {"id", "label"} <= one.keys() <= {"id", "label", "type", "secret", "multiline", "help_text"}:
            raise Refused(f"malformed field {one}")
        one.setdefault("type", "string")
    names = {one["id"] for one in fields}
    if not set(item["inputs"].get("required", ())) <= names:
        raise Refused("required is not among the fields")
    if item["injectors"].keys() - {"env", "extra_vars", "file"}:
        raise Refused("unknown injectors")
    if any(name.startswith("ANSIBLE_") for name in item["injectors"].get("env", ())):
        raise Refused("a variable whose name begins with ANSIBLE_ is not allowed")
    try:
        injected(item["injectors"], dict.fromkeys(names, "x"), file="x" if "file" in item["injectors"] else None)
    except TemplateError as error:
        raise Refused(f"an injector: {error}") from None


class _Namespace:
    """What ``tower`` is for an injector."""

    def __init__(self, filename: str) -> None:
        self.filename = filename


def injected(injectors: Item, inputs: Item, *, file: str | None) -> Item:
    """Injectors with the inputs of a credential in their places; ``file`` is the path of the injected file."""
    environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    names = {**inputs, **({"tower": _Namespace(file)} if file is not None else {})}
    return {
        kind: {name: environment.from_string(text).render(names) for name, text in texts.items()}
        for kind, texts in injectors.items()
    }
