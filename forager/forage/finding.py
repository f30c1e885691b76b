"""The environment in which a repository's suite passes: found by rules over its files, or else by an agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from forager.errors import BuildError, CapExceeded, ForageError
from forager.evaluate.testrun import TestRun
from forager.forage import detect, ladder
from forager.forage.baseline import check_clean
from forager.forage.classify import WORDS, Classified, of_run
from forager.forage.copies import copies
from forager.forage.explore import (
    Explorer,
    Tell,
    explore_key,
    keep_explored,
    read_explored,
    start_of,
)
from forager.forage.exploring import Found, Unusable
from forager.forage.ladder import passed
from forager.forage.project import Project
from forager.forage.results import Stage
from forager.forage.source import Source
from forager.images.build import Report
from forager.images.environment import ensure_environment
from forager.images.index import tells_times
from forager.models.registry import Models
from forager.records import Environment, Limits, digest
from forager.sandbox.engine import Engine

BUILD_SECONDS = 900.0
"""That a layer of an environment may take: one that hangs keeps a slot from the others."""
SAID = 20_000
"""Characters of a build's output that go into the log."""


class Agents:
    """Whom to ask where rules do not do, and where what it does is kept."""

    def __init__(
        self, models: Models | None, limits: Limits, kept: Path, trajectories: Path, torn: Path, tell: Tell
    ) -> None:
        """`kept` is the file of what was found for this repository, `trajectories` the one of all agents."""
        self.models = models
        self.limits = limits
        self.kept = kept
        self.trajectories = trajectories
        self.torn = torn
        self.tell = tell


class Finder:
    """Looks for the environment of one repository. `find` is called once."""

    def __init__(
        self,
        engine: Engine,
        source: Source,
        files: Mapping[str, bytes],
        sources: Mapping[str, bytes],
        agents: Agents,
        *,
        run: Callable[[str], Awaitable[TestRun]],
        builds: asyncio.Semaphore,
        agents_at_once: asyncio.Semaphore,
        enter: Callable[[Stage], None],
        note: Report,
    ) -> None:
        """`files` are the repository's by path, `sources` those to be mutated; `run` runs the suite in an image.

        `enter` is told of the stages: build, baseline, explore.
        """
        self.attempt = ""
        """Id of the trajectory of the agent that was asked, in this call or an earlier one."""
        self.rung = ""
        """The rung of the ladder that was taken; empty if none was, or an agent's environment."""
        self.tried: dict[str, str] = {}
        """Rungs that were tried, and what came of each."""
        self._engine = engine
        self._source = source
        self._files = files
        self._sources = sources
        self._asked = agents
        self._run = run
        self._builds = builds
        self._at_once = agents_at_once
        self._enter = enter
        self._note = note

    async def find(self) -> tuple[Environment, str, TestRun]:
        """The environment, not pinned; its image; the suite's first run there.

        Raises `BuildError` where none can be built, `ForageError` where none is of use, `CapExceeded` where the
        suite breaks its container, `UnfitError` and another `InfrastructureError` for what is not the repository's.
        """
        models = self._asked.models
        known = read_explored(self._asked.kept)
        if known and (models is None or known.key == explore_key(models, self._source)):
            if known.environment is not None:
                self.attempt = known.attempt
                try:
                    return await self._known(known.environment)
                except (BuildError, ForageError, CapExceeded) as error:
                    if models is None:
                        raise
                    self._note(f"what an agent found is of no use any more: {error}")
                    self.attempt = ""
            elif models is not None and known.limits == self._asked.limits:
                self.attempt = known.attempt
                self._enter("explore")
                raise ForageError(known.reason)
        try:
            return await self._by_rules()
        except (BuildError, ForageError, CapExceeded) as error:
            if models is None:
                raise
            failed, log = str(error).split("\n")[0], str(getattr(error, "log", ""))
            self._note(f"the rules have no environment: {error}\n{log[-SAID:]}")
        return await self._by_agent(models, failed, log)

    # ---------------------------------------------------------------------------------------------- rules

    async def _by_rules(self) -> tuple[Environment, str, TestRun]:
        self._enter("build")
        images: dict[str, str] = {}

        async def attempt(environment: Environment) -> TestRun:
            image = images[digest(environment)] = await self._built(environment)
            self._enter("baseline")
            return await self._run(image)

        project = await asyncio.to_thread(Project, self._source.name, self._files)
        date = self._source.date if self._source.date and await tells_times() else ""
        places = ", ".join(project.automation.places)
        self._note(f"automation that runs the tests: {places or 'none that can be read'}")
        found = await ladder.climb(project, self._source.environment, attempt, self._note, self.tried, date=date)
        self.rung = found.rung
        _check(found.run, self._files)
        self._note(f"environment: {found.rung}")
        return found.environment, images[digest(found.environment)], found.run

    async def _first_built(self, plans: Sequence[Environment]) -> tuple[Environment, str]:
        """The first of some environments that can be built, and its image."""
        failed: BuildError | None = None
        for environment in plans:
            self._note(f"environment: {', '.join(environment.packages)}")
            try:
                return environment, await self._built(environment)
            except BuildError as error:
                failed = failed or error
        raise failed or BuildError(f"{self._source.spec}: no environment to build")

    async def _built(self, environment: Environment) -> str:
        try:
            async with self._builds:
                return await ensure_environment(self._engine, environment, self._note, timeout=BUILD_SECONDS)
        except BuildError as error:
            self._note(f"{error}\n{error.log[-SAID:]}")
            raise

    # ---------------------------------------------------------------------------------------------- agent

    async def _known(self, environment: Environment) -> tuple[Environment, str, TestRun]:
        """What an agent found in an earlier call."""
        self._enter("build")
        image = await self._built(environment)
        self._enter("baseline")
        run = await self._run(image)
        check_clean(run)
        return environment, image, run

    async def _by_agent(self, models: Models, failed: str, log: str) -> tuple[Environment, str, TestRun]:
        asked, source = self._asked, self._source
        self._enter("explore")
        runs: dict[str, TestRun] = {}

        async def judge(environments: Sequence[Environment]) -> Found:
            environment, image = await self._last_built(environments)
            run = runs[image] = await self._run(image)
            _check(run, self._files)
            if found := await copies(self._engine, image, self._sources):
                first, more = found[0], f" and {len(found) - 1} more" if len(found) > 1 else ""
                raise Unusable(
                    f"a copy of the repository's code is installed, {first}{more}: tests have to import it from the "
                    "working tree (`pip install -e .`)"
                )
            return Found(environment=environment, image=image, passed=passed(run), failed=ladder.failed(run))

        async with self._at_once:
            start, image = await self._start()
            explorer = Explorer(self._engine, source, models, asked.limits, judge, self._note, asked.tell)
            explored, found = await explorer.explore(start, image, failed, log, asked.trajectories, asked.torn)
        self.attempt = explored.attempt
        keep_explored(asked.kept, explored)
        if found is None:
            raise ForageError(explored.reason)
        self._enter("baseline")
        return found.environment, found.image, runs[found.image]

    async def _start(self) -> tuple[Environment, str]:
        """Where the agent begins: with the Python that the files ask for, if it can be had."""
        plans = await asyncio.to_thread(
            detect.candidates_for, self._source.name, self._source.environment, self._files
        )
        versions = dict.fromkeys([plans[0].python, ""])
        return await self._first_built([start_of(self._source, version) for version in versions])

    async def _last_built(self, environments: Sequence[Environment]) -> tuple[Environment, str]:
        """As `_first_built`, but for the error: the last one is nearest to what the agent did."""
        failed: BuildError | None = None
        for environment in environments:
            try:
                return environment, await self._built(environment)
            except BuildError as error:
                failed = error
        raise failed or BuildError(f"{self._source.spec}: no environment to build")


def _check(run: TestRun, files: Mapping[str, bytes]) -> None:
    """`check_clean`, with what the failures have in common and what the run printed."""
    try:
        check_clean(run)
    except Classified as error:
        cause = of_run(run, files) if error.failure in ("fails", "not_collected", "not_started") else ""
        words = f"{WORDS[cause]}: {error}" if cause else str(error)
        log = "\n".join(run.failures.values()) or run.output
        raise Unusable(words, log, cause or error.failure) from None
