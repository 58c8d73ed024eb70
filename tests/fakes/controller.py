# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for the API of AWX: it keeps what the modules of awx.awx send, and refuses what AWX refuses.

Only what zrb.fleet.awx uses is here. An endpoint, a field or a filter that it does not know is an error.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.controller_rules import Item, Refused, answered, check_credential_type, check_rule, check_survey

ENCRYPTED = "$encrypted$"


@dataclass(frozen=True)
class Kind:
    """The objects of one endpoint."""

    type: str
    required: tuple[str, ...] = ()
    """And the identity."""
    defaults: Item = field(default_factory=dict)
    """What AWX fills in for what is not sent."""
    related: tuple[str, ...] = ()
    """Lists of other objects."""
    identity: str = "name"

    @property
    def fields(self) -> set[str]:
        """All that may be sent."""
        return {self.identity, "description", *self.required, *self.defaults}


_TOLD = ("notification_templates_started", "notification_templates_success", "notification_templates_error")
_OFF = dict.fromkeys(("allow_simultaneous", "survey_enabled", "ask_job_type_on_launch", "ask_limit_on_launch"), False)
KINDS = {
    "organizations": Kind("organization"),
    "credential_types": Kind("credential_type", ("kind",), {"inputs": {}, "injectors": {}, "managed": False}),
    "credentials": Kind("credential", ("organization", "credential_type"), {"inputs": {}}),
    "notification_templates": Kind(
        "notification_template",
        ("organization", "notification_type", "notification_configuration"),
    ),
    "execution_environments": Kind(
        "execution_environment", ("image",), {"organization": None, "credential": None, "pull": ""}
    ),
    "projects": Kind(
        "project",
        ("organization", "scm_type", "scm_url"),
        {"scm_branch": "", "scm_update_on_launch": False, "credential": None, "scm_revision": "1" * 40},
        _TOLD,
    ),
    "inventories": Kind("inventory", ("organization",), {"kind": "", "host_filter": ""}),
    "inventory_sources": Kind(
        "inventory_source",
        ("inventory", "source", "source_project"),
        {"source_path": "", **dict.fromkeys(("overwrite", "overwrite_vars", "update_on_launch"), False)},
        _TOLD,
    ),
    "job_templates": Kind(
        "job_template",
        ("project", "playbook", "inventory"),
        {"organization": None, "execution_environment": None, "job_type": "run", "forks": 0, "extra_vars": "", **_OFF},
        ("credentials", *_TOLD),
    ),
    "workflow_job_templates": Kind(
        "workflow_job_template",
        defaults={"organization": None, "allow_simultaneous": False, "survey_enabled": False},
        related=(*_TOLD, "notification_templates_approvals"),
    ),
    "workflow_job_template_nodes": Kind(
        "workflow_job_template_node",
        ("workflow_job_template",),
        {"unified_job_template": None},
        ("success_nodes",),
        identity="identifier",
    ),
    "workflow_approval_templates": Kind("workflow_approval_template", defaults={"timeout": 0}),
    "schedules": Kind("schedule", ("unified_job_template", "rrule"), {"extra_data": {}, "enabled": True}),
}
UNIFIED = ("projects", "inventory_sources", "job_templates", "workflow_job_templates", "workflow_approval_templates")
REFERENCES = {
    **{name: (f"{name}s",) for name in ("organization", "credential_type", "credential", "project")},
    "execution_environment": ("execution_environments",),
    "inventory": ("inventories",),
    "source_project": ("projects",),
    "workflow_job_template": ("workflow_job_templates",),
    "unified_job_template": UNIFIED,
}
"""Where the objects are that a field names by their number."""

BUILT_IN = {
    "Machine": ("ssh", {"username": False, "password": True, "ssh_key_data": True}),
    "Vault": ("vault", {"vault_password": True}),
    "Container Registry": ("registry", {"host": False, "username": False, "password": True}),
    "Source Control": ("scm", {"username": False, "password": True, "ssh_key_data": True}),
}
"""Types of credentials that every AWX has: their kind, and which inputs are secret."""


@dataclass
class Controller:
    """What is stored. ``playbooks`` are those that every project holds."""

    playbooks: Collection[str]
    version: str
    token: str = "token-of-the-tests"
    stored: dict[str, dict[int, Item]] = field(default_factory=lambda: {endpoint: {} for endpoint in KINDS})
    surveys: dict[int, Item] = field(default_factory=dict)
    lists: dict[tuple[int, str], list[int]] = field(default_factory=dict)
    """By the number of an object and the name of its list: the numbers of other objects."""

    def __post_init__(self) -> None:
        self.create("organizations", {"name": "Default"})
        for name, (kind, inputs) in BUILT_IN.items():
            fields = [{"id": one, "label": one, "type": "string", "secret": secret} for one, secret in inputs.items()]
            self._keep("credential_types", {"name": name, "kind": kind, "inputs": {"fields": fields}})

    def named(self, endpoint: str, name: str) -> Item:
        """The one object of that name, as it is stored."""
        (found,) = (item for item in self.stored[endpoint].values() if item["name"] == name)
        return found

    def listed(self, item: Item, related: str, endpoint: str) -> list[Item]:
        """The objects of ``endpoint`` that stand in a list of ``item``."""
        return [self.stored[endpoint][number] for number in self.lists.get((item["id"], related), ())]

    def survey_of(self, number: int) -> Item:
        """What is asked for when a job of this template is started."""
        templates = self.stored["job_templates"] | self.stored["workflow_job_templates"]
        return self.surveys.get(number, {}) if templates[number]["survey_enabled"] else {}

    def find(self, endpoint: str, filters: list[tuple[str, str]]) -> list[Item]:
        """The objects that meet all filters."""
        sources = UNIFIED if endpoint == "unified_job_templates" else (endpoint,)
        known = {"id", "type"}.union(*(KINDS[source].fields for source in sources))
        if unknown := {name for name, _ in filters} - known:
            raise Refused(f"{endpoint} has no field {unknown}")
        every = [self.shown(source, item) for source in sources for item in self.stored[source].values()]
        return [item for item in every if all(str(item.get(name)) == value for name, value in filters)]

    def shown(self, endpoint: str, item: Item) -> Item:
        """An object as a reply has it: without what is secret."""
        url = f"/api/v2/{endpoint}/{item['id']}/"
        shown = {**item, "type": KINDS[endpoint].type, "url": url, "summary_fields": {}}
        shown["related"] = {"survey_spec": f"{url}survey_spec/"} if "survey_enabled" in item else {}
        if endpoint == "workflow_job_template_nodes" and (number := item["unified_job_template"]):
            (source,) = (one for one in UNIFIED if number in self.stored[one])
            shown["related"]["unified_job_template"] = f"/api/v2/{source}/{number}/"
        if endpoint == "credentials":
            fields = self.stored["credential_types"][item["credential_type"]]["inputs"]["fields"]
            secret = {one["id"] for one in fields if one.get("secret")}
            shown["inputs"] = {name: ENCRYPTED if name in secret else value for name, value in item["inputs"].items()}
        return shown

    def create(self, endpoint: str, sent: Item) -> Item:
        """Keep a new object."""
        kind = KINDS[endpoint]
        if missing := [name for name in (kind.identity, *kind.required) if sent.get(name) in (None, "")]:
            raise Refused(f"{kind.type}: {missing} must be given")
        if any(item[kind.identity] == sent[kind.identity] for item in self.stored[endpoint].values()):
            raise Refused(f"{kind.type}: there is a {sent[kind.identity]} already")
        return self._keep(endpoint, self._checked(endpoint, {"description": "", **kind.defaults}, sent))

    def change(self, endpoint: str, number: int, sent: Item) -> Item:
        """Change fields of an object."""
        self.stored[endpoint][number] = self._checked(endpoint, self.stored[endpoint][number], sent)
        return self.stored[endpoint][number]

    def approve_at(self, number: int, sent: Item) -> Item:
        """Make a node of a workflow one that waits for an approval."""
        made = self.create("workflow_approval_templates", sent)
        self.change("workflow_job_template_nodes", number, {"unified_job_template": made["id"]})
        return made

    def set_survey(self, number: int, sent: Item) -> None:
        """Give a template its questions."""
        check_survey(sent)
        self.surveys[number] = sent

    def change_list(self, number: int, related: str, sent: Item) -> None:
        """Put an object into a list of another, or take it out."""
        there = self.lists.setdefault((number, related), [])
        if sent.get("disassociate"):
            there.remove(sent["id"])
            return
        if related == "credentials":
            types = [self.stored["credentials"][one]["credential_type"] for one in (*there, sent["id"])]
            if len(set(types)) < len(types):
                raise Refused("Cannot assign multiple credentials of one type")
            if (kind := self.stored["credential_types"][types[-1]]["kind"]) in {"scm", "registry"}:
                raise Refused(f"Cannot assign a Credential of kind `{kind}`")
        there.append(sent["id"])

    def _keep(self, endpoint: str, item: Item) -> Item:
        number = 1 + sum(len(items) for items in self.stored.values())
        self.stored[endpoint][number] = {**item, "id": number}
        return self.stored[endpoint][number]

    def _checked(self, endpoint: str, before: Item, sent: Item) -> Item:
        sent = {name: value for name, value in sent.items() if name != "type"}  # which AWX ignores
        if unknown := sent.keys() - KINDS[endpoint].fields:
            raise Refused(f"{endpoint} has no field {unknown}")
        for name, sources in REFERENCES.items():
            if sent.get(name) is not None and not any(sent[name] in self.stored[source] for source in sources):
                raise Refused(f"{endpoint}: there is no {name} {sent[name]}")
        # AWX takes null for an empty text.
        item = {**before, **{name: "" if value is None else value for name, value in sent.items()}}
        match endpoint:
            case "credential_types":
                check_credential_type(item)
            case "credentials":
                fields = self.stored["credential_types"][item["credential_type"]]["inputs"]["fields"]
                if unknown := item["inputs"].keys() - {one["id"] for one in fields}:
                    raise Refused(f"unknown inputs {unknown}")
            case "job_templates":
                if item["playbook"] not in self.playbooks:
                    raise Refused(f"Playbook not found for project: {item['playbook']}")
            case "schedules":
                check_rule(item["rrule"])
                answered(self.survey_of(item["unified_job_template"]), item["extra_data"])
        return item


class _Handler(BaseHTTPRequestHandler):
    """The API over HTTP."""

    protocol_version = "HTTP/1.1"
    controller: ClassVar[Controller]

    def answer(self) -> None:
        """Answer one request."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        try:
            if self.headers.get("Authorization") != f"Bearer {self.controller.token}":
                raise Refused("wrong token", 401)
            status, reply = self._reply(body)
        except Refused as error:
            status, reply = error.status, {"detail": str(error), "error": str(error)}
        payload = b"" if reply is None else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("X-API-Product-Name", "AWX")
        self.send_header("X-API-Product-Version", self.controller.version)
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_PATCH = answer

    def _reply(self, sent: Item) -> tuple[int, Any]:
        url = urlsplit(self.path)
        controller = self.controller
        match self.command, *url.path.removeprefix("/api/v2/").strip("/").split("/"):
            case "GET", endpoint:
                reply = 200, _page(controller.find(endpoint, parse_qsl(url.query, keep_blank_values=True)))
            case "POST", endpoint:
                reply = 201, controller.shown(endpoint, controller.create(endpoint, sent))
            case "GET", endpoint, number:
                reply = 200, controller.shown(endpoint, controller.stored[endpoint][int(number)])
            case "POST", "workflow_job_template_nodes", number, "create_approval_template":
                made = controller.approve_at(int(number), sent)
                reply = 201, controller.shown("workflow_approval_templates", made)
            case "PATCH", endpoint, number:
                reply = 200, controller.shown(endpoint, controller.change(endpoint, int(number), sent))
            case "GET", _, number, "survey_spec":
                reply = 200, controller.surveys.get(int(number), {})
            case "POST", _, number, "survey_spec":
                reply = 200, controller.set_survey(int(number), sent)
            case "GET", endpoint, number, related if related in KINDS[endpoint].related:
                reply = 200, _page([{"id": one} for one in controller.lists.get((int(number), related), ())])
            case "POST", endpoint, number, related if related in KINDS[endpoint].related:
                reply = 204, controller.change_list(int(number), related, sent)
            case _:
                raise Refused(f"this stand-in has no {self.command} {self.path}", 405)
        return reply

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _page(found: list[Item]) -> Item:
    return {"count": len(found), "next": None, "previous": None, "results": found}


@contextmanager
def served(controller: Controller) -> Iterator[str]:
    """The API of ``controller`` on loopback; its address."""
    handler = type("Handler", (_Handler,), {"controller": controller})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
