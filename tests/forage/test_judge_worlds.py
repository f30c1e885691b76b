"""Verdicts in thousands of small made-up suites, where it is known which bug breaks which test: tests break each
other's bugs, the map misses some, bugs interact, and the suite crashes with some of them together.

The suites are made up because the cases that matter are rare in real ones; see `test_judge.py` for real ones.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from forager.evaluate.series import Round
from forager.evaluate.testrun import TestRun
from forager.forage import judge as judging
from forager.forage import validate as validating
from forager.forage.baseline import Baseline
from forager.forage.evidence import Mutants
from forager.forage.judge import Judge
from forager.forage.mutate import Mutant
from forager.forage.reach import Reach, Selection
from forager.forage.trying import Turns
from forager.forage.validate import Suite, Verdict

TESTS = tuple(f"m{n // 3}.py::t{n}" for n in range(8))
WORLDS = 400


class _Steady(random.Random):
    def random(self) -> float:
        return 1.0


STEADY = _Steady()


class World(NamedTuple):
    """Bugs by name: the tests that are known to reach each, those it breaks, and what is odd about them."""

    own: dict[str, set[str]]
    breaks: dict[str, set[str]]
    shared: set[str]
    """Any test may depend on these."""
    pairs: dict[frozenset[str], set[str]]
    """Tests that only two bugs together break."""
    crashing: set[frozenset[str]]
    needs: dict[str, str]
    """Tests that fail where they run without another."""
    unimportable: dict[str, str]
    """Bugs with which a module cannot be imported."""
    ran: list[frozenset[str]]
    """The bugs of each run."""
    breaking_off: random.Random
    """When a series does not go on."""

    def run(self, bugs: frozenset[str], tests: Sequence[str]) -> TestRun:
        self.ran.append(bugs)
        if any(pair <= bugs for pair in self.crashing):
            return TestRun(exit_code=139)
        modules = tuple(sorted({self.unimportable[bug] for bug in bugs & self.unimportable.keys()}))
        if tests and any(test.startswith(modules) for test in tests if modules):  # pytest runs none of them
            return TestRun(collect_errors=modules, complete=True, exit_code=4)
        broken: set[str] = set().union(*(self.breaks[bug] for bug in bugs))
        for pair, turned in self.pairs.items():
            if pair <= bugs:
                broken |= turned
        broken |= {test for test, needed in self.needs.items() if tests and needed not in tests}
        run = [test for test in TESTS if (not tests or test in tests) and not (modules and test.startswith(modules))]
        outcomes = {test: "failed" if test in broken else "passed" for test in run}
        return TestRun(outcomes=outcomes, collect_errors=modules, complete=True, exit_code=1, seconds=1.0)


def made_up(seed: int, kind: str) -> World:
    chance = random.Random(seed)
    names = "ABCDEFG"[: chance.randint(2, 7)]
    world = World({}, {}, set(), {}, set(), {}, {}, [], chance)
    for name in names:
        own = chance.sample(TESTS, chance.choice((0, 1, 2, 3, 4)))
        world.own[name] = set(own)
        world.breaks[name] = set(chance.sample(own, chance.randint(0, len(own))))
        if chance.random() < 0.3:
            world.shared.add(name)
        elif "hidden" not in kind or chance.random() > 0.2:
            continue
        world.breaks[name] |= set(chance.sample(TESTS, chance.randint(0, 4)))
    for _ in range(chance.randint(0, 2) if "pairs" in kind else 0):
        world.pairs[frozenset(chance.sample(names, 2))] = set(chance.sample(TESTS, chance.randint(1, 3)))
    if "import" in kind:
        name = chance.choice(names)
        module = world.unimportable[name] = chance.choice(TESTS).partition("::")[0]
        world.breaks[name] = {test for test in TESTS if test.startswith(module)}
        world.shared.add(name)
    if "lonely" in kind:
        world.needs[TESTS[0]] = TESTS[4]
    if "crash" in kind:
        world.crashing.add(frozenset(chance.sample(names, 2)))
    return world


def judged(world: World, monkeypatch: pytest.MonkeyPatch, *, long: bool, seconds: float = 0.1) -> dict[str, Verdict]:
    """`long`: whether the suite is too long to be run with each bug that any test may depend on; `seconds` that a
    test takes."""

    def bugs_of(mutants: Mutants, _: Any) -> dict[str, bytes]:
        return {mutant.operator: b"" for mutant in mutants}

    async def run_suite(_engine: Any, _suite: Any, *, files: Any, tests: Sequence[str] = (), **_more: Any) -> TestRun:
        await asyncio.sleep(0)
        return world.run(frozenset(files), tests)

    async def run_rounds(_engine: Any, _suite: Any, rounds: Sequence[Round], **_more: Any) -> list[TestRun]:
        """Ends before a round that does not reach its end, and now and then for no reason."""
        await asyncio.sleep(0)
        runs: list[TestRun] = []
        for one in rounds:
            if world.breaking_off.random() < 0.1:
                break
            run = world.run(frozenset(one.files), one.tests)
            if not run.complete:
                break
            runs.append(run)
        return runs

    def select(_reach: Any, _passing: Any, file: str, *_more: Any) -> Selection:
        return Selection(tests=tuple(world.own[file]), shared=file in world.shared)

    with monkeypatch.context() as patched:
        patched.setattr(judging, "apply_all", bugs_of)
        patched.setattr(judging, "run_suite", run_suite)
        patched.setattr(judging, "run_rounds", run_rounds)
        patched.setattr(validating, "run_suite", run_suite)
        patched.setattr(judging, "select", select)
        patched.setattr(judging, "SAMPLE", seconds * len(TESTS) / 4)
        patched.setattr(judging, "SHORT", 0.0 if long else 20.0)
        baseline = Baseline(passing=TESTS, seconds=1.0)
        engine: Any = None
        reach = Reach(tests=TESTS, seconds=(seconds,) * len(TESTS), sets=(), files={})
        judge = Judge(engine, Suite(image=""), baseline, dict.fromkeys(world.own, b""), reach, Turns(2))
        bugs = [
            (Mutant(operator=name, file=name, function="", line=1, start=3 * n, end=3 * n + 1, text=""),)
            for n, name in enumerate(world.own)
        ]
        found: dict[str, Verdict] = {}
        asyncio.run(judge.verdicts(bugs, lambda mutants, verdict: found.__setitem__(mutants[0].operator, verdict)))
    assert set(found) == set(world.own)
    return found


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
@pytest.mark.parametrize(
    "kind", ["plain", "crash", "pairs", "pairs, crash", "hidden", "hidden, crash", "lonely", "import"]
)
def test_no_list_ever_holds_a_test_that_does_not_belong_there(
    kind: str, long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Counter[str]()
    for seed in range(WORLDS):
        world = made_up(seed, kind)
        for name, verdict in judged(world, monkeypatch, long=long).items():
            truth = world.breaks[name]
            if verdict.reason == "valid":
                assert set(verdict.fail_to_pass) <= truth | world.needs.keys(), (seed, name)
                lost["wrong"] += not set(verdict.fail_to_pass) <= truth
                assert not set(verdict.pass_to_pass) & truth, (seed, name)
                lost["tests"] += bool(verdict.unstable)
            else:
                seen = truth & world.own[name] or (truth and name in world.shared)
                reasons = {"nothing_passes"} if truth == set(TESTS) else {"survived", "unreached"}
                reasons |= {"unstable"} if world.needs else set()
                assert verdict.reason in reasons or seen, (seed, name)
                lost["bugs"] += bool(seen) and truth != set(TESTS)
            lost["judged"] += 1
    assert lost["wrong"] <= 0.01 * lost["judged"], lost  # with a test that fails alone and that another bug breaks
    few = {"plain": 0.0, "crash": 0.0, "import": 0.01}.get(kind, 0.3)
    assert lost["tests"] + lost["bugs"] <= few * lost["judged"], lost


def test_few_runs_tell_of_many_bugs(monkeypatch: pytest.MonkeyPatch) -> None:
    names = "ABCDEFGHIJKLMNOP"

    def world(own: dict[str, set[str]], breaks: dict[str, set[str]], shared: set[str]) -> World:
        return World(own, breaks, shared, {}, set(), {}, {}, [], STEADY)

    nothing: dict[str, set[str]] = {name: set() for name in names}
    harmless = world(nothing, nothing, set(names))
    assert {verdict.reason for verdict in judged(harmless, monkeypatch, long=False).values()} == {"survived"}
    assert len(harmless.ran) == 16 + 1  # some tests with each, the whole suite once for all

    own = {n: {TESTS[k % 4]} for k, n in enumerate(names)}
    for broken, blamed in ((TESTS[6:], []), (TESTS[7:], [15])):
        # F breaks tests that do not run its line. Where a sample shows one of them, the others run with it, too; else
        # they are found at once: with it, and with all others
        far = world(own, {**own, "F": set(broken)}, {"F"})
        found = judged(far, monkeypatch, long=False, seconds=0.001)
        assert {verdict.reason for verdict in found.values()} == {"valid"}
        assert found["F"].fail_to_pass == broken
        assert [len(bugs) for bugs in far.ran if len(bugs) > 1] == [16, *blamed]
        assert sum(bugs == {"F"} for bugs in far.ran) <= (5 if blamed else 3)
