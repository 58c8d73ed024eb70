# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the commands of a page run: a test's own pool, repository, directories and keys in the places of those that the
page names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.page import FILES, RUN, SHOWN, Block, Command, blocks_of, commands_of

ROOT = Path(__file__).resolve().parents[2]

AGE_KEY = "age1pq1x34nzsvr0rxjsgdn8zgyhfe8j7ceq5r9…"
SECOND_AGE_KEY = "age1pq1gfk8z6v5r2ynh0w3mjq9t7xae4pdl0uw…"
SIGNER = "zrbsign1pq1chmnm4la3x34lkgdfel6dy7bl4zb…"
"""The keys that all pages show."""

RUN_ELSEWHERE = {
    "ansible-playbook -i inventory zrb.fleet.deploy --check": "tests/fleet/test_4_deploy.py",
    "ansible-playbook -i inventory zrb.fleet.deploy": "tests/fleet/test_4_deploy.py",
    "ansible-playbook -i inventory zrb.fleet.backup -e zrb_level=1": "tests/integration/modules/test_playbooks.py",
    "ansible-playbook -i inventory zrb.fleet.status": "tests/integration/modules/test_playbooks.py",
    (
        "ansible-playbook -i inventory zrb.fleet.restore --limit nas1 -e zrb_target=tank "
        "-e zrb_private_key=/media/usb/zrb-age.key"
    ): "tests/integration/modules/test_playbook_restore.py",
    "ansible-playbook -i inventory zrb.fleet.backup -e zrb_level=0": "tests/integration/modules/test_playbooks.py",
    "ansible-playbook -i inventory zrb.fleet.rotate_keys -e zrb_signing_key=/etc/zrb/signing-2027.key": (
        "tests/integration/modules/test_playbook_rotate_keys.py"
    ),
    (
        "ansible-playbook -i inventory zrb.fleet.rotate_keys "
        "-e zrb_private_keys=/media/usb/zrb-2027.key,/media/safe/zrb-2027.key"
    ): "tests/integration/modules/test_playbook_rotate_keys.py",
    "ansible-playbook -i inventory zrb.fleet.lifecycle": "tests/integration/modules/test_role_lifecycle.py",
    "ansible-playbook -i inventory zrb.fleet.verify": "tests/integration/modules/test_playbooks.py",
    "ansible-playbook -i inventory zrb.fleet.verify -e zrb_depth=checksum -e zrb_subset=1/30": (
        "tests/integration/modules/test_playbooks.py"
    ),
    "ansible-playbook -i inventory zrb.fleet.cleanup --check": "tests/integration/modules/test_playbook_cleanup.py",
    "ansible-playbook -i inventory zrb.fleet.cleanup -e zrb_max_removals=120": (
        "tests/integration/modules/test_playbook_cleanup.py"
    ),
    "pip download --require-hashes --only-binary :all: -d /srv/wheelhouse -r requirements.txt": (
        "tests/fleet/wheelhouse.py"
    ),
    "runuser --user=zrb -- zrb backup --level 0": "tests/fleet/test_4_deploy.py",
    "make docs": "tests/docs/test_site.py",
    "make demo": "tests/docs/test_demo.py",
    "make test": ".ci/run",
    "make test-openzfs": ".ci/run",
    "make test-servers": ".ci/run",
    "make venv": "tests/setup/venv",
}
"""Commands that set up this checkout, and what runs them where: a page about them is not run inside themselves."""

CODES = {"zrb validate-config": {0, 4}}
"""Other exit codes than 0 that are right here: the S3 server of these tests accepts wrong checksums, which is a
warning."""


@dataclass
class Stage:
    """``places`` maps what pages say to what it is here; a callable is asked when it is needed. Longest first."""

    directory: Path
    """Where commands run; programs in its ``bin`` come first."""
    places: dict[str, str | Callable[[], str]]
    environment: dict[str, str] = field(default_factory=dict)

    def here(self, text: str) -> str:
        """``text`` of a page as it has to be here."""
        for said in sorted(self.places, key=len, reverse=True):
            if said in text:
                place = self.places[said]
                word = rf"(?<![\w.-]){re.escape(said)}(?![\w-])" if said.isalpha() else re.escape(said)
                meant = place if isinstance(place, str) else place()
                text = re.sub(word, lambda _, meant=meant: meant, text)  # type: ignore[misc]
        return text

    def play(self, page: Path) -> None:
        """Run everything that ``page`` says, in order."""
        for block in blocks_of(page):
            where = f"{page.name}:{block.line}"
            if block.language in RUN:
                for command in commands_of(block):
                    self.run(command, where)
            elif block.language in FILES:
                self.write(block)
            else:
                assert block.language in SHOWN, f"{where}: no test knows what to do with {block.language!r}"

    def write(self, block: Block) -> None:
        """Write the file that a block is."""
        if block.path is not None:
            path = self.directory / self.here(block.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.here(block.text), encoding="utf-8")
            path.chmod(0o600)

    def run(self, command: Command, where: str) -> None:
        """Run one command and look for the lines that it should print."""
        if command.text in RUN_ELSEWHERE:
            return
        script = self.here(command.text)
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.directory,
            env={**os.environ, "LC_ALL": "C.UTF-8", **self.environment, "PATH": self._path()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        codes = next((codes for start, codes in CODES.items() if command.text.startswith(start)), {0})
        report = f"{where}: {script}\nstatus {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        assert ended.returncode in codes, report
        printed = [_squeezed(line) for line in (ended.stdout + ended.stderr).splitlines()]
        for expected in command.output:
            wanted = _squeezed(self.here(expected))
            pattern = ".*".join(re.escape(piece) for piece in wanted.split("…"))
            matching = [number for number, line in enumerate(printed) if re.fullmatch(pattern, line)]
            assert matching, f"{wanted!r} is not printed by {report}"
            printed = printed[matching[0] + 1 :]

    def _path(self) -> str:
        guard, _, others = os.environ["PATH"].partition(":")
        return f"{self.directory / 'bin'}:{guard}:{Path(sys.executable).parent}:{others}"


def _squeezed(line: str) -> str:
    """Without the blanks that only line up columns."""
    return " ".join(line.split())
