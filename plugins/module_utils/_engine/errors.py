# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Typed errors: what was tried, on what, what the other side said, and what to do next.

Each class stands for one thing that a user can do something about. The exit codes are those of the
``zrb`` command; a module reports the same facts through ``fail_json``.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path


class Explained(BaseException):
    """Base of all that the engine raises on purpose.

    ``problem`` says what was tried and on which object, ``answer`` what the other side said (stderr of a
    command, an S3 error code), ``next_step`` what the user should do. ``subject`` is the bare name of the
    object (a dataset, a key, a file) for machines.
    """

    exit_code: int = 1

    def __init__(self, problem: str, *, next_step: str, subject: str = "", answer: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.subject = subject
        self.answer = answer.strip()
        self.next_step = next_step

    def explain(self) -> str:
        """The whole message as sentences."""
        said = f": {self.answer}" if self.answer else ""
        return f"{_stopped(self.problem + said)} {_stopped(self.next_step)}"

    def facts(self) -> dict[str, str | int]:
        """The error for machines: class name, exit code and the parts of the message."""
        return {
            "error": type(self).__name__,
            "exit_code": self.exit_code,
            "problem": self.problem,
            "subject": self.subject,
            "answer": self.answer,
            "next_step": self.next_step,
        }

    def __str__(self) -> str:
        return self.explain()


class EngineError(Explained, Exception):
    """Base of all errors."""


class Interrupted(Explained):
    """SIGINT or SIGTERM stops the run. Not an error, so that code that survives an error (of one dataset, of a step
    after the commit) does not catch it. The exit code is 128 plus the signal's number: 130 or 143."""

    def __init__(self, signal_number: int, *, next_step: str) -> None:
        super().__init__(f"Stopped by signal {signal_number}", next_step=next_step)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


class Unexpected(EngineError):
    """An exception that no part of the engine expects: a bug, or a machine that is out of memory."""


def explained(error: Exception) -> EngineError:
    """Return ``error``, or an :class:`Unexpected` that says what it is and where it was raised."""
    if isinstance(error, EngineError):
        return error
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    path = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    unexpected = Unexpected(
        f"zrb failed with an unexpected {type(error).__name__} ({path})",
        answer=str(error),
        next_step="Unless this machine was out of memory, this is a bug: report it, with the output of -v",
    )
    unexpected.__cause__ = error
    return unexpected


def without_frames(error: EngineError) -> EngineError:
    """Return ``error`` without its stack frames and those of its causes. A run keeps its errors to the end, and the
    frames would keep the buffers of a whole stream."""
    one: BaseException | None = error
    while one is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


def _stopped(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else sentence + "."


# --- usage and configuration: exit code 2 --------------------------------------------------------------


class UsageError(EngineError):
    """The call itself cannot be carried out: an option, a combination, a value."""

    exit_code = 2


class ConfigError(UsageError):
    """The configuration file has an unknown key, a wrong type or an impossible combination."""


class RemovalsUnconfirmed(UsageError):
    """A cleanup would remove more backups than anybody has agreed to."""


class KeyFileError(UsageError):
    """A key file is missing, malformed, readable by others, or of the wrong kind."""


class BadRecipient(UsageError):
    """A recipient is not a native age public key, or the recipients are of both kinds."""


class WrongIdentity(UsageError):
    """None of the given age identities opens a part."""


class CredentialsMissing(UsageError):
    """No S3 credentials were found where the AWS chain looks."""


class LibraryMissing(UsageError):
    """A Python library that this operation needs is not installed, or too old."""

    @classmethod
    def named(cls, library: str, error: ImportError) -> LibraryMissing:
        """The error for ``library``, by the name it has in the package index."""
        return cls(
            f"The Python library {library} is needed and cannot be imported by {sys.executable}",
            subject=library,
            answer=str(error),
            next_step=f"Install it there: `{sys.executable} -m pip install {library}`",
        )

    @classmethod
    def older(cls, library: str, *, found: str, needed: str, purpose: str) -> LibraryMissing:
        """The error for a ``library`` that is installed, but older than ``purpose`` needs."""
        return cls(
            f"The Python library {library} {found} of {sys.executable}, or the OpenSSL in it, is too old for "
            f"{purpose}, which need {needed}",
            subject=library,
            next_step=f"Update it there, e.g. with `pip install '{library}>={needed}'`",
        )


# --- concurrency: exit code 3 --------------------------------------------------------------------------


class Locked(EngineError):
    """Another run holds the lock of the dataset."""

    exit_code = 3


# --- integrity: exit code 5 ----------------------------------------------------------------------------


class IntegrityError(EngineError):
    """Bytes, links or signatures do not match the manifest, or break the format."""

    exit_code = 5


class RepositoryChanged(IntegrityError):
    """The repository at a destination is not the one that this machine knows there, or cannot be identified."""


class BackupsVanished(IntegrityError):
    """Backups that a series had are missing, or were exchanged."""


class SignatureInvalid(IntegrityError):
    """No trusted key signed this manifest, or this retirement record."""


class ManifestInvalid(IntegrityError):
    """A manifest, a retirement record, an envelope or the repository identity breaks the rules of format 1."""


class PartDamaged(IntegrityError):
    """A part's bytes do not have the hash or the length that the manifest states."""


class PartMissing(IntegrityError):
    """A part that the manifest names is not in the repository."""


class StreamDamaged(IntegrityError):
    """The whole stream does not have the hash that the manifest states."""


class ChainBroken(IntegrityError):
    """A link of a chain is missing or does not fit the one before it."""


# --- not found: exit code 6 ----------------------------------------------------------------------------


class NotFound(EngineError):
    """Something the user named does not exist."""

    exit_code = 6


class NoSuchPool(NotFound):
    """The pool does not exist or is not imported."""


class NoSuchDataset(NotFound):
    """The dataset does not exist."""


class NoSuchSnapshot(NotFound):
    """The snapshot does not exist."""


class NoSuchBackup(NotFound):
    """No committed backup matches the selection."""


class NoSuchTask(NotFound):
    """The configuration has no such task."""


class NoSuchJob(NotFound):
    """No job has this id."""


class NoSuchRepository(NotFound):
    """The bucket or the directory of the repository does not exist."""


# --- waiting: exit code 7 ------------------------------------------------------------------------------


class ThawNeeded(EngineError):
    """Objects are in an archive class and must be thawed before they can be read."""

    exit_code = 7


# --- ZFS: exit code 1 ----------------------------------------------------------------------------------


class ZfsError(EngineError):
    """A ``zfs`` or ``zpool`` command failed."""


class ZfsMissing(ZfsError):
    """The ``zfs`` command is not installed, or its kernel module or daemon is not running."""


class ZfsDenied(ZfsError):
    """The user may not do this to the dataset."""


class ZfsUnable(ZfsError):
    """This ZFS cannot do what is asked. Trying again does not help."""


class SendFailed(ZfsError):
    """``zfs send`` ended before its stream did."""


class ReceiveFailed(ZfsError):
    """``zfs receive`` refused or broke off."""


class TargetExists(ZfsError):
    """The dataset to restore into exists already."""


class StreamNotReproducible(ZfsError):
    """A second ``zfs send`` of the same snapshot gave other bytes than the first."""


# --- planning: exit code 1 ----------------------------------------------------------------------------


class LevelUnavailable(EngineError):
    """The requested level has no usable base, and another level was forbidden."""


# --- storage: exit code 1 ------------------------------------------------------------------------------


class StoreError(EngineError):
    """The repository's storage answered with an error."""


class StoreUnavailable(StoreError):
    """The endpoint cannot be reached, or keeps failing after all retries."""


class ForeignReply(StoreUnavailable):
    """Something else answered in place of the endpoint: a captive portal, a proxy, a gateway."""


class StoreDenied(StoreError):
    """The credentials, or the file permissions, do not allow this."""


class StoreFull(StoreError):
    """There is no space left."""


class WrongRegion(StoreError):
    """The bucket is in another region."""


class ClockSkewed(StoreError):
    """This machine's clock is too far from the endpoint's for a signed request, or older than a backup."""


class TlsFailure(StoreError):
    """The TLS connection could not be verified."""


class ObjectMissing(StoreError):
    """A key does not exist. For the engine alone: callers raise an error that says what this means to the user."""


class ObjectExists(StoreError):
    """A key exists already, with other content; keys are written once."""


class ObjectArchived(StoreError):
    """A key is in an archive class and not thawed. Callers that know more raise :class:`ThawNeeded` instead, with the
    same exit code."""

    exit_code = 7


# --- local machine: exit code 1 ------------------------------------------------------------------------


class LocalStateError(EngineError):
    """A file of the state directory (journal, lock, log, spool) cannot be written or read."""


class JobLost(EngineError):
    """The process of a job has ended without a result: it was killed, or the machine was restarted."""


class MemoryFault(EngineError):
    """A bit flipped in this machine's memory or processor while a stream went through it."""
