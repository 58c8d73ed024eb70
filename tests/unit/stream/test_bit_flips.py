# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No bit that flips on the way is committed. ``bit_flips`` is also a campaign, to be run by hand."""

from __future__ import annotations

from random import Random

import pytest

from tests.unit.stream.bit_flips import STAGES, Stage, outcome

FLIPS = 25


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_it_is_found_wherever_it_flips(stage: Stage) -> None:
    random = Random(stage.name)
    found = 0
    while found < FLIPS:
        came = outcome(stage, random)
        assert came != "committed"
        found += came == "found"


def test_without_the_proof_it_would_be_committed() -> None:
    """Else the test above would prove nothing."""
    random = Random(1)
    plaintext = STAGES[0]
    assert "committed" in {outcome(plaintext, random, proof=False) for _ in range(10)}
