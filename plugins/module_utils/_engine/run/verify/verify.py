# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proves committed backups at a depth, and reports the depth and the backups."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import Any, Literal

from ...config.tasks import as_tasks, common_root, covered_by_any
from ...errors import EngineError, IntegrityError, LocalStateError, NoSuchBackup, ThawNeeded, UsageError
from ...plan.chain import check_not_retired, check_series, next_place, walk_chain
from ...repository.catalogue import Catalogue, read_catalogue
from ...repository.part_list import open_part_list
from ...repository.signed_objects import read_manifest
from ...seal.signing import no_trusted_signer
from ...state.highest_seen import read_head, remember, series_seen
from ...state.spool import Spool
from ...store.protocol import Store
from ...values.config import Task
from ...values.manifest import BackupSummary, CataloguedManifest, Manifest, Part
from ...values.repository_names import BackupId, Series
from ..context import Context
from .accept_losses import accept_what_is_there
from .part_checks import DecryptChecks, Findings, Sound, check_hashes, check_presence

Depth = Literal["signature", "exists", "checksum", "decrypt"]
DEPTHS: tuple[Depth, ...] = ("signature", "exists", "checksum", "decrypt")
_SUBSET = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True)
class Subset:
    """Share ``number`` of ``of`` shares of all parts. A part is always in the same share, so verifying the shares 1 to
    ``of`` in turn covers everything."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Subset:
        """``3/7`` as a subset. Raises :class:`UsageError`."""
        match = _SUBSET.fullmatch(text)
        if match is None or int(match[1]) > int(match[2]):
            raise UsageError(
                f"{text!r} is not a subset",
                subject=text,
                next_step="Write n/t with n from 1 to t, e.g. 1/7 today and 2/7 tomorrow",
            )
        return cls(int(match[1]), int(match[2]))

    def __contains__(self, part: Part) -> bool:
        share = int.from_bytes(hashlib.sha256(part.key.encode()).digest()[:8]) % self.of
        return share == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True, slots=True)
class Problem:
    """An error and its backup. ``backup_id`` and ``dataset`` are empty if the manifest cannot be read."""

    error: EngineError
    backup_id: str = ""
    dataset: str = ""

    def as_json(self) -> dict[str, Any]:
        """The problem for machines."""
        return {"backup_id": self.backup_id, "dataset": self.dataset} | self.error.facts()


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was proved. ``parts`` of ``parts_total`` were checked, ``bytes`` is their stored size; the depth
    ``signature`` checks none. ``not_compared`` of them have the right length, but no checksum in the store to compare:
    only a deeper check proves them. ``backups`` lists the ids."""

    depth: Depth
    subset: Subset | None
    backups: tuple[BackupId, ...]
    parts: int
    parts_total: int
    not_compared: int
    bytes: int
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0; 4 for warnings; 5 if something is damaged, missing or not signed; 7 if something must be thawed first."""
        codes = {problem.error.exit_code for problem in self.problems}
        return 5 if 5 in codes else max(codes, default=4 if self.warnings else 0)

    @property
    def status(self) -> Literal["ok", "warning", "failed"]:
        """The outcome in one word."""
        if self.problems:
            return "failed"
        return "warning" if self.warnings else "ok"

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "exit_code": self.exit_code,
            "depth": self.depth,
            "subset": str(self.subset) if self.subset else None,
            "backups": list(self.backups),
            "parts": self.parts,
            "parts_total": self.parts_total,
            "not_compared": self.not_compared,
            "bytes": self.bytes,
            "problems": [problem.as_json() for problem in self.problems],
            "warnings": list(self.warnings),
        }


def verify(  # noqa: PLR0913 - the options of the command
    context: Context,
    *,
    depth: Depth,
    task: Task | Sequence[Task] | None = None,
    backup_id: str | None = None,
    level: int | None = None,
    host: str | None = None,
    subset: str | None = None,
    identities: Sequence[str] = (),
    trusted: Sequence[str] | None = None,
    accept_losses: bool = False,
) -> VerifyReport:
    """Prove the backups that the arguments select, of this host unless ``host`` names another.

    Every depth includes the earlier ones: ``signature`` proves manifests and chains, ``exists`` that all parts are
    stored, ``checksum`` reads them, ``decrypt`` opens them with ``identities`` (private age keys). ``subset``
    (``n/t``) limits the parts, never the manifests. For ``accept_losses``, see
    :func:`.accept_losses.accept_what_is_there`. Damage is reported, not raised. Raises ``NoSuchBackup`` if nothing
    matches, ``SignatureInvalid`` if no trusted signer is known, :class:`UsageError`, and errors that make the
    repository unreadable.
    """
    share = Subset.parse(subset) if subset is not None else None
    signers = context.trusted_signers() if trusted is None else tuple(trusted)
    if not signers:
        raise no_trusted_signer()
    if depth == "decrypt" and not identities:
        raise UsageError(
            "The depth `decrypt` needs an age identity",
            next_step="Give the private key with --private-key, or choose the depth `checksum`, which needs none",
        )
    host = host or context.config.host
    tasks = as_tasks(task)
    warnings = accept_what_is_there(context, signers, host=host, tasks=tasks) if accept_losses else []
    catalogue = _read_catalogue(context, signers, host, tasks)
    chosen = [
        found
        for found in catalogue.manifests
        if covered_by_any(tasks, found.manifest.dataset.name)
        and (level is None or found.manifest.level == level)
        and (backup_id is None or found.manifest.backup_id == backup_id)
    ]
    problems = [Problem(error) for error in catalogue.problems]
    all_series = {found.manifest.series: None for found in chosen}
    if catalogue.identity and backup_id is None and level is None:
        seen = series_seen(context.base_dir, catalogue.identity.repository_id, host)
        all_series |= {series: None for series in seen if covered_by_any(tasks, series.dataset)}
    if not all_series and not problems and not warnings:
        for one in catalogue.records:
            check_not_retired(one.record.backups, backup_id)
        raise _nothing_to_verify(host, backup_id)
    run = _Run(context, depth, share, tuple(identities))
    for series in all_series:
        found_in_series = [found for found in catalogue.manifests if found.manifest.series == series]
        problems += _chain_problems(found_in_series, [found for found in chosen if found.manifest.series == series])
        problems += _losses(context, series, found_in_series, catalogue)
    problems += run.check(chosen)
    report = VerifyReport(
        depth=depth,
        subset=share,
        backups=tuple(found.manifest.backup_id for found in chosen),
        parts=run.parts,
        parts_total=sum(found.manifest.part_count for found in chosen),
        not_compared=run.not_compared,
        bytes=run.bytes,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )
    context.progress.finish(status=report.status, result=report.as_json())
    return report


class _Run:
    """The checks of parts, with one count of bytes over all backups."""

    def __init__(self, context: Context, depth: Depth, subset: Subset | None, identities: tuple[str, ...]) -> None:
        self._context = context
        self._depth = depth
        self._subset = subset
        self._identities = identities
        self.parts = 0
        """How many were checked; ``bytes`` is their stored size."""
        self.bytes = 0
        self.not_compared = 0
        self._total = 0
        self._done = 0
        self._lock = threading.Lock()

    def check(self, backups: Sequence[CataloguedManifest]) -> list[Problem]:
        """Check all selected parts, and return their problems."""
        if self._depth != "signature":
            self._total = sum(found.manifest.stored_bytes for found in backups)
            self._total //= self._subset.of if self._subset else 1
        self._context.progress.start("verify", total=self._total, message=f"{len(backups)} backups, {self._depth}")
        if self._depth == "signature":
            return []
        with ExitStack() as stack:
            store = stack.enter_context(closing(self._context.patient_store()))
            decrypt = self._decrypt_checks(store, stack) if self._depth == "decrypt" else None
            return [problem for found in backups for problem in self._check(store, found, decrypt)]

    def _decrypt_checks(self, store: Store, stack: ExitStack) -> DecryptChecks:
        return DecryptChecks(
            store,
            limits=self._context.config.limits,
            identities=self._identities,
            spool=stack.enter_context(Spool(self._context.base_dir)).directory,
            moved=self._moved,
        )

    def _check(self, store: Store, found: CataloguedManifest, decrypt: DecryptChecks | None) -> list[Problem]:
        try:
            manifest = read_manifest(store, found)
            with open_part_list(store, manifest) as parts:
                selected = _Selected(parts, self._subset)
                findings = self._findings(store, manifest, selected, decrypt)
        except (IntegrityError, ThawNeeded) as error:  # of the manifest, or of the list of parts
            findings = Findings(whole=[error])
        return self._named(found.manifest, findings)

    def _findings(
        self, store: Store, manifest: Manifest, selected: Iterable[Part], decrypt: DecryptChecks | None
    ) -> Findings:
        """Run the checks of this depth. Every depth includes the earlier ones."""
        limits = self._context.config.limits
        findings = check_presence(store, manifest, self._counted(selected), workers=limits.workers)
        sound = Sound(selected, findings)
        if decrypt is not None:
            (decrypt.check_stream if self._subset is None else decrypt.check_parts)(manifest, sound, findings)
        elif self._depth == "checksum":
            check_hashes(store, sound, findings, limits=limits, moved=self._moved)
        else:
            self.not_compared += findings.not_compared
        return findings

    def _counted(self, parts: Iterable[Part]) -> Iterator[Part]:
        for part in parts:
            self.parts += 1
            self.bytes += part.bytes
            if self._depth == "exists":
                self._moved(part.bytes)
            yield part

    def _moved(self, length: int) -> None:
        with self._lock:
            self._done = min(self._total, self._done + length)  # a damaged part is read twice, but counts once
            self._context.progress.advance("verify", current=self._done, total=self._total)

    def _named(self, manifest: BackupSummary, findings: Findings) -> list[Problem]:
        for error in findings:
            self._context.progress.log(error.explain(), level="warning", backup_id=manifest.backup_id)
        return [Problem(error, manifest.backup_id, manifest.dataset.name) for error in findings]


class _Selected:
    """The parts that a run checks. Can be read again."""

    def __init__(self, parts: Iterable[Part], subset: Subset | None) -> None:
        self._parts = parts
        self._subset = subset

    def __iter__(self) -> Iterator[Part]:
        return (part for part in self._parts if self._subset is None or part in self._subset)


def _read_catalogue(context: Context, signers: Sequence[str], host: str, tasks: Sequence[Task]) -> Catalogue:
    dataset, recursive = common_root(tasks)
    store = context.patient_store()
    try:
        catalogue = read_catalogue(
            store, trusted=signers, host=host, dataset=dataset, recursive=recursive, known=context.known_id
        )
    finally:
        store.close()
    if catalogue.identity:
        with suppress(LocalStateError):  # as for the heads of series, below
            context.remember_repository(catalogue.identity.repository_id)
    return catalogue


def _losses(
    context: Context, series: Series, found: Sequence[CataloguedManifest], catalogue: Catalogue
) -> list[Problem]:
    if catalogue.identity is None:
        return []  # that is a problem already, and a worse one
    repository_id = catalogue.identity.repository_id
    head = read_head(context.base_dir, repository_id, series)
    retired = catalogue.retired(series)
    with suppress(OSError):  # a machine that only verifies may have no state directory: it then remembers no heads
        remember(context.base_dir, repository_id, series, next_place(found, retired)[0] - 1)
    return [
        Problem(loss.error(series), dataset=series.dataset)
        for loss in check_series(found, retired, highest_seen=head.seq, refused=catalogue.refused(series))
        if loss.key not in head.accepted
    ]


def _chain_problems(series: Sequence[CataloguedManifest], chosen: Sequence[CataloguedManifest]) -> list[Problem]:
    by_id = {found.manifest.backup_id: found.manifest for found in series}
    problems = []
    for manifest in (found.manifest for found in chosen):
        try:
            walk_chain(manifest, by_id)
        except EngineError as error:
            problems.append(Problem(error, manifest.backup_id, manifest.dataset.name))
    return problems


def _nothing_to_verify(host: str, backup_id: str | None) -> NoSuchBackup:
    wanted = f"the id {backup_id}" if backup_id else "the selection"
    return NoSuchBackup(
        f"No committed backup of host {host} matches {wanted}",
        subject=backup_id or host,
        next_step="`zrb list --host '*'` shows what there is; nothing was verified",
    )
