"""Every attack that is known, against a real grade: each fails, or is one that the threat model says works."""

from __future__ import annotations

from pathlib import Path

import pytest

from forager.evaluate.attacks import (
    ATTACKS,
    GOLD,
    SEARCHES,
    Attack,
    attempt_patch,
    attempt_search,
)
from forager.images.task import TaskImage
from forager.records import Task
from forager.sandbox.engine import Engine

Calc = tuple[Task, TaskImage]
THREAT_MODEL = Path(__file__).parents[2] / "docs" / "threat-model.md"


@pytest.mark.docker
async def test_the_fix_itself_resolves(engine: Engine, calc: Calc) -> None:
    result = await attempt_patch(engine, *calc, Attack(name="none", patch=GOLD))
    assert result.evaluation is not None and result.evaluation.resolved, result
    assert result.evaluation.flags == ()


@pytest.mark.docker
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_a_patch_that_fixes_nothing(engine: Engine, calc: Calc, attack: Attack) -> None:
    result = await attempt_patch(engine, *calc, attack)
    assert result.expected, result
    if attack.works:
        assert result.evaluation is not None
        assert attack.name in THREAT_MODEL.read_text()


@pytest.mark.docker
@pytest.mark.parametrize("name", SEARCHES)
async def test_the_fix_is_not_to_be_found_where_the_agent_works(engine: Engine, calc: Calc, name: str) -> None:
    result = await attempt_search(engine, *calc, name)
    assert result.held, result
