"""The short ladder of environments: the declared way first, then what usually mends it, judged by the tests.

Each rung changes the best environment so far; it is tried only if it is made for what is wrong there. The ladder ends
when nearly all tests pass, and keeps the rung in which most do.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Literal, NamedTuple

from msgspec import structs

from forager.errors import BuildError, CapExceeded
from forager.evaluate.testrun import TestRun, file_of
from forager.forage import dated, requirements
from forager.forage.classify import of_build, of_run, reason_of
from forager.forage.detect import plans_for
from forager.forage.missing import extend, extend_build
from forager.forage.project import Project
from forager.images.build import Report
from forager.records import Environment, digest

GOOD = 0.95
"""Share of tests and modules that has to pass for a rung to be the last one."""
USABLE = 0.5
"""Share from which an environment is of some use."""
FAIR, FEW = 0.9, 3
"""Share from which no more than some rungs are tried: the rest mend more than what is wrong."""
ATTEMPTS = 12
"""Rungs that are tried at most."""
ENOUGH = 300.0
"""Seconds after which a usable environment is looked for no further."""
EXTENSIONS = 3
"""Rounds of adding what a build or a run says is missing."""
SAID = 20_000
"""Characters of a build's output that go into the log."""

Fault = Literal["", "dependencies", "install", "tests", "final"]
"""What is wrong with a rung: nothing; its dependencies or the repository cannot be installed; tests fail; something
that no other rung mends."""

UNISOLATED = "python -m pip install --no-build-isolation --editable ."
IN_TREE = """# As pip install --editable would: installed, and then the tree put in the place of the copy.
python -m pip install . && python - <<'END'
import importlib.metadata, json, os, pathlib, shutil, sysconfig
pure = pathlib.Path(sysconfig.get_path("purelib"))
tree = pathlib.Path.cwd()
roots = set()
for dist in importlib.metadata.distributions(path=[str(pure)]):
    url = json.loads(dist.read_text("direct_url.json") or "{}").get("url", "")
    if url != tree.as_uri():
        continue
    for file in dist.files or ():
        copy = pathlib.Path(os.path.normpath(pure / file))
        if not copy.is_relative_to(pure) or file.parts[0].endswith((".dist-info", ".data")) or not copy.is_file():
            continue
        for root in (tree / "src", tree / "lib", tree / "python", tree):
            if (root / file).exists() or (root / file).parent.is_dir() and len(file.parts) > 1:
                roots.add(str(root))
                if not (root / file).exists():
                    shutil.copyfile(copy, root / file)
                copy.unlink()
                break
(pure / "testbed.pth").write_text("".join(f"{root}\\n" for root in sorted(roots)))
END"""
"""Installs what cannot be installed in editable mode, or does not work so."""

Change = Callable[[Environment, TestRun | None], Environment | None]


class Rung(NamedTuple):
    """One thing to try."""

    name: str
    when: frozenset[Fault]
    """It is for these faults; empty: whatever is wrong."""
    change: Change
    """The environment from the best one so far and its run; None where it would change nothing."""


class Stand(NamedTuple):
    """How far one rung came."""

    environment: Environment
    fault: Fault
    run: TestRun | None = None
    error: BuildError | CapExceeded | None = None

    @property
    def worth(self) -> tuple[int, int, int]:
        if self.run is None:
            return (
                ("dependencies", "install").index(self.fault) if self.fault in ("dependencies", "install") else 0,
                0,
                0,
            )
        return (2, passed(self.run), -failed(self.run))

    @property
    def words(self) -> str:
        """One line for people."""
        if self.run is None:
            return f"not built: {reason_of(self.error)[:200]}" if self.error else ""
        run = self.run
        bad = f", {len(run.collect_errors)} modules are not collected" if run.collect_errors else ""
        cut = " (out of time)" if run.timed_out else "" if run.complete else " (cut off)"
        return f"{passed(run)} pass, {failed(run) - len(run.collect_errors)} fail{bad}{cut}"


class Climbed(NamedTuple):
    """What came of a ladder."""

    environment: Environment
    run: TestRun
    rung: str
    tried: dict[str, str]
    """Rungs in the order they were tried, and what came of each."""


async def climb(
    project: Project,
    source: Environment,
    attempt: Callable[[Environment], Awaitable[TestRun]],
    note: Report,
    tried: dict[str, str],
    *,
    date: str = "",
    good: float = GOOD,
) -> Climbed:
    """The environment in which most tests pass, unless an earlier one is good enough.

    `good` is the share of tests that is. `attempt` builds one and runs the suite in it. `date` (ISO 8601) is that of
    the repository, where the index can be asked for releases before it. `tried` is filled as the rungs are tried.
    Raises the `BuildError` or `CapExceeded` of the rung that came furthest if no suite ran in any.
    """
    started = time.monotonic()
    best: Stand | None = None
    name = ""
    seen: set[str] = set()
    climber = _Climber(attempt, note, project.tree, good)
    for rung in rungs(project, source, date):
        if best is not None and rung.when and best.fault not in rung.when:
            continue
        environment = rung.change(best.environment if best else source, best.run if best else None)
        if environment is None or digest(environment) in seen:
            continue
        if len(tried) >= ATTEMPTS:
            break
        note(f"trying {rung.name}: {', '.join(environment.packages)}")
        stand = await climber.stand(environment)
        seen |= {digest(environment), digest(stand.environment)}
        tried[rung.name] = stand.words
        note(f"{rung.name}: {stand.words}")
        if best is None or stand.worth > best.worth:
            best, name = stand, rung.name
        if best.fault in ("", "final") or stand.fault == "final":
            break
        spent = time.monotonic() - started > ENOUGH
        if best.run is not None and (
            (share(best.run) > USABLE and spent) or (share(best.run) > FAIR and len(tried) > FEW)
        ):
            break
    assert best is not None
    if best.run is None:
        assert best.error is not None
        raise best.error
    return Climbed(best.environment, best.run, name, tried)


# --------------------------------------------------------------------------------------------- the rungs


def rungs(project: Project, source: Environment, date: str) -> Iterator[Rung]:
    """What there is to try for a project, in order. The rungs of the declared way come first and are always tried."""
    declared, *looser = plans_for(project, source)
    unbounded = looser[0] if len(looser) > 1 else None
    any_fault: frozenset[Fault] = frozenset(["dependencies", "install", "tests"])
    tests: frozenset[Fault] = frozenset(["tests"])

    def given(environment: Environment) -> Change:
        return lambda best, run: environment

    locked = dated.pinned(declared, dated.locks(project.tree))
    if locked != declared:
        yield Rung("as locked", frozenset(), given(locked))
    if date:
        yield Rung(f"as declared, of {date[:10]}", frozenset(), given(structs.replace(declared, before=date)))
    yield Rung("as declared", frozenset(), given(declared))
    if unbounded is not None:
        yield Rung("without version bounds", any_fault - {"install"}, _packages(unbounded.packages))
    yield Rung("build without isolation", frozenset(["install"]), _unisolated(project))
    yield Rung("not editable", frozenset(["install", "tests"]), _in_tree)
    if re.search(r"(^|\s)error\b|-W\s*error", _settings(project)):
        yield Rung("warnings are no errors", tests, _options("-W default"))
    if project.pytest_settings.get("addopts") or project.pytest_settings.get("required_plugins"):
        yield Rung("without pytest options", tests, _options("-o addopts= -o required_plugins="))
    if declared.env != source.env:
        yield Rung(
            "without the automation's settings", tests, lambda best, run: structs.replace(best, env=source.env)
        )
    for older in dated.OLDER:
        yield Rung(older.replace("<", " before "), tests, _older(older))
    everything = requirements.merged([declared.packages, project.everything()])
    yield Rung("everything its files name", tests, _more(everything))
    if other := project.other_python():
        yield Rung(f"Python {other}", any_fault, lambda best, run: structs.replace(best, python=other))
    yield Rung(
        "pytest alone", any_fault, given(structs.replace(source, python=project.python(), packages=("pytest",)))
    )


def _settings(project: Project) -> str:
    settings = project.pytest_settings
    return f"{settings.get('filterwarnings', '')} {settings.get('addopts', '')}".replace("[", " ").replace("'", " ")


def _packages(packages: tuple[str, ...]) -> Change:
    return lambda best, run: structs.replace(best, packages=packages, before="")


def _more(packages: tuple[str, ...]) -> Change:
    """With what is not there yet of some requirements."""

    def change(best: Environment, run: TestRun | None) -> Environment:
        return structs.replace(best, packages=requirements.merged([best.packages, packages]))

    return change


def _older(runner: str) -> Change:
    def change(best: Environment, run: TestRun | None) -> Environment:
        others = [text for text in best.packages if requirements.name(text) != "pytest"]
        return structs.replace(best, packages=tuple(sorted([*others, runner], key=str.lower)))

    return change


def _options(words: str) -> Change:
    """With pytest told something more."""

    def change(best: Environment, run: TestRun | None) -> Environment:
        said = " ".join(filter(None, (best.env.get("PYTEST_ADDOPTS", ""), words)))
        return structs.replace(best, env={**best.env, "PYTEST_ADDOPTS": said})

    return change


def _unisolated(project: Project) -> Change:
    def change(best: Environment, run: TestRun | None) -> Environment:
        packages = requirements.merged([best.packages, project.build_requires()])
        return structs.replace(best, packages=packages, install=UNISOLATED)

    return change


def _in_tree(best: Environment, run: TestRun | None) -> Environment | None:
    """Only where the editable install may be what is wrong: it fails, or modules cannot be imported."""
    if run is not None and not run.collect_errors and run.outcomes:
        return None
    return structs.replace(best, install=IN_TREE)


# ------------------------------------------------------------------------------------------- one of them


class _Climber:
    """Tries environments, and what their builds and their tests ask for."""

    def __init__(
        self,
        attempt: Callable[[Environment], Awaitable[TestRun]],
        note: Report,
        files: Mapping[str, bytes],
        good: float,
    ) -> None:
        self._attempt = attempt
        self._note = note
        self._files = files
        self._good = good
        self._own = {part.removesuffix(".py") for path in files for part in path.split("/")[:2]}

    async def stand(self, environment: Environment) -> Stand:
        """How far an environment comes, with what its build and its tests say is missing."""
        stand = await self._once(environment)
        for _ in range(EXTENSIONS):
            wider = self._wider(stand)
            if wider is None:
                break
            before = {*stand.environment.packages, *stand.environment.system}
            more = ", ".join(sorted({*wider.packages, *wider.system} - before))
            self._note(f"{'the suite' if stand.run else 'the build'} asks for {f'more: {more}' if more else 'less'}")
            other = await self._once(wider)
            if other.worth < stand.worth:
                break
            stand = other
        return stand

    def _wider(self, stand: Stand) -> Environment | None:
        if stand.fault == "final":
            return None
        if stand.run is not None:
            return extend(stand.environment, said(stand.run), self._own)
        log = stand.error.log if isinstance(stand.error, BuildError) else ""
        return extend_build(stand.environment, log, self._own)

    async def _once(self, environment: Environment) -> Stand:
        try:
            run = await self._attempt(environment)
        except BuildError as error:
            self._note(f"{error}\n{error.log[-SAID:]}")
            if of_build(error) == "build_hangs":
                return Stand(environment, "final", error=error)
            late = str(error).startswith("forager/repository")
            return Stand(environment, "install" if late else "dependencies", error=error)
        except CapExceeded as error:
            return Stand(environment, "final", error=error)
        if share(run) >= self._good and run.complete:
            return Stand(environment, "", run)
        hopeless = run.timed_out or (share(run) <= USABLE and of_run(run, self._files))
        return Stand(environment, "final" if hopeless else "tests", run)


def passed(run: TestRun) -> int:
    """Tests that passed."""
    return sum(outcome == "passed" for outcome in run.outcomes.values())


def failed(run: TestRun) -> int:
    """Tests that failed, and modules that could not be collected."""
    return sum(outcome in ("failed", "error") for outcome in run.outcomes.values()) + len(run.collect_errors)


def share(run: TestRun) -> float:
    """Of the tests and modules that ran or should have, the share that passed; of modules where that is less."""
    tests = passed(run) / max(1, passed(run) + failed(run))
    modules = len({file_of(test) for test in run.outcomes})
    return min(tests, modules / max(1, modules + len(run.collect_errors)))


def said(run: TestRun) -> str:
    """What a run says of its failures."""
    return "\n".join((*run.failures.values(), "" if run.complete and run.outcomes else run.output))
