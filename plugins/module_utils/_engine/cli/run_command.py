# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parses the arguments, runs one command, and turns every outcome into a message and an exit code."""

from __future__ import annotations

import json
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Sequence

from ..errors import EngineError, Explained, Interrupted, explained
from .all_commands import build_parser
from .output import flush_errors, open_missing_streams, printing, put, say
from .session import Session
from .signals import stopping_on_signals


def run_command_line(argv: Sequence[str]) -> int:
    """Run ``argv`` and return the exit code. Never raises."""
    open_missing_streams()
    _write_any_character()

    def run() -> int:
        with stopping_on_signals():
            args = None
            with printing():
                args = _parse(argv)
            if args is None:
                return 0
            if getattr(args, "detach", False):
                from .detach import detach

                return detach(Session(args), argv, carry_out)
            return int(args.run(Session(args)))

    try:
        return carry_out(run, as_json="--json" in argv, verbose="-v" in argv or "--verbose" in argv)
    finally:
        flush_errors()


def carry_out(run: Callable[[], int], *, as_json: bool, verbose: bool) -> int:
    """Return the exit code of ``run``. What it raises is reported."""
    try:
        return run()
    except (EngineError, Interrupted) as error:
        return _report(error, as_json=as_json, verbose=verbose)
    except Exception as error:  # noqa: BLE001 - the one place where a defect becomes a message
        return _report(explained(error), as_json=as_json, verbose=verbose)


def _parse(argv: Sequence[str]) -> Namespace | None:
    """Return the arguments, or ``None`` if they asked for help or the version, which has been printed."""
    try:
        return build_parser().parse_args(argv)
    except SystemExit:
        return None


def _report(error: Explained, *, as_json: bool, verbose: bool) -> int:
    from ..report.logs import redact

    code = error.exit_code
    say(redact(error.explain()))
    if verbose:
        say(redact("".join(traceback.format_exception(error))))
    if as_json:
        facts = {name: redact(value) if isinstance(value, str) else value for name, value in error.facts().items()}
        with printing():
            put(json.dumps({"exit_code": code, "error": facts | {"exit_code": code}}, indent=2))
    return code


def _write_any_character() -> None:
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
