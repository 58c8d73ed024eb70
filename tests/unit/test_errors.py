# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors read as sentences, and each has its exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from zrb import errors
from zrb.errors import EngineError, Interrupted, LibraryMissing, PartDamaged, UsageError

# Read off docs/interface.md: 1 failed, 2 usage, 3 locked, 5 integrity, 6 not found, 7 waiting.
EXIT_CODES = {
    2: "UsageError",
    3: "Locked",
    5: "IntegrityError",
    6: "NotFound",
    7: "ThawNeeded",
}


def every_class(kind: type[EngineError] = EngineError) -> Iterator[type[EngineError]]:
    """``kind`` and all below it that ``errors`` defines."""
    if kind.__module__ == errors.__name__:
        yield kind
        for below in kind.__subclasses__():
            yield from every_class(below)


def made(kind: type[EngineError]) -> EngineError:
    if kind is Interrupted:
        return Interrupted(15, next_step="Run it again")
    return kind("Reading ünïcode failed", next_step="Look at it", subject="tank/data", answer=" exit 1\n")


ALL = sorted(set(every_class()), key=lambda kind: kind.__name__)


def test_an_interrupt_says_which_signal() -> None:
    stopped = Interrupted(2, next_step="Run it again")
    assert (stopped.signal_number, stopped.exit_code, Interrupted(15, next_step="").exit_code) == (2, 130, 143)
    assert stopped.explain() == "Stopped by signal 2. Run it again."


@pytest.mark.parametrize("kind", ALL)
def test_exit_codes_are_those_of_the_command(kind: type[EngineError]) -> None:
    expected = next((code for code, name in EXIT_CODES.items() if issubclass(kind, getattr(errors, name))), 1)
    if kind is errors.ObjectArchived:  # a fault of the storage, and a matter of waiting
        expected = errors.ThawNeeded.exit_code
    assert kind.exit_code == expected
    assert kind.__doc__


@pytest.mark.parametrize(
    ("problem", "answer", "next_step", "sentence"),
    [
        ("It broke", "", "Mend it", "It broke. Mend it."),
        ("It broke.", "", "Mend it!", "It broke. Mend it!"),
        ("It broke", "status 1", "Is it on?", "It broke: status 1. Is it on?"),
        ("It broke", "  no space left.\n", "Mend it.", "It broke: no space left. Mend it."),
        ("It broke", "\n", "Mend it", "It broke. Mend it."),
    ],
)
def test_the_message_is_sentences(problem: str, answer: str, next_step: str, sentence: str) -> None:
    assert EngineError(problem, next_step=next_step, answer=answer).explain() == sentence


def test_facts_are_for_machines() -> None:
    assert made(PartDamaged).facts() == {
        "error": "PartDamaged",
        "exit_code": 5,
        "problem": "Reading ünïcode failed",
        "subject": "tank/data",
        "answer": "exit 1",
        "next_step": "Look at it",
    }


def test_a_missing_library_says_where_and_how() -> None:
    error = LibraryMissing.named("blake3", ImportError("No module named 'blake3'"))
    assert isinstance(error, UsageError)
    assert (error.subject, error.answer) == ("blake3", "No module named 'blake3'")
    assert sys.executable in error.problem
    assert f"`{sys.executable} -m pip install blake3`" in error.next_step
