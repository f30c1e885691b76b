"""What tests of foraging share: a small package of the tests' own, and a real one with its suite."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from forager.forage import detect, scope
from forager.forage.baseline import Baseline, compare_clean
from forager.forage.source import fetch_source
from forager.forage.validate import Suite, run_suite
from forager.images.environment import ensure_environment
from forager.sandbox.engine import Engine
from tests.evaluate.conftest import calc

__all__ = ["calc", "inflection"]


def tasks_of(directory: Path) -> list[dict[str, Any]]:
    """The lines of tasks.jsonl, without what is measured in seconds."""
    tasks = [json.loads(line) for line in (directory / "tasks.jsonl").read_text().splitlines()]
    for task in tasks:
        task["provenance"].pop("baseline_seconds", None)  # mined commits have none
        task.pop("test_seconds", None)
    return tasks


class Package(NamedTuple):
    """A real package, its image and what its suite gives."""

    suite: Suite
    baseline: Baseline
    sources: dict[str, bytes]


@pytest.fixture(scope="session")
def inflection(engine: Engine) -> Package:
    """455 tests in half a second, one module."""

    async def make() -> Package:
        source = await fetch_source("pypi:inflection==0.5.1", lambda _: None)
        files = source.read()
        sources = dict(scope.wanted_files(files))
        environment = detect.candidates_for(source.name, source.environment, files)[0]
        suite = Suite(image=await ensure_environment(engine, environment))
        run = await run_suite(engine, suite, timeout=120)
        return Package(suite, compare_clean([run], [], sources), sources)

    return asyncio.run(make())
