"""Verdicts on injected bugs with a map of which test runs which lines, beside the whole suite on the same bugs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from itertools import islice

from benchmarks.bench import Bench
from benchmarks.figures import FORAGER, WHOLE, Figure, Goal, Group, Value, at_least
from forager.errors import ForagerError
from forager.evaluate.testrun import TestRun
from forager.forage import scope
from forager.forage.baseline import Baseline
from forager.forage.baseline import measure as measure_suite
from forager.forage.compiled import with_byte_code
from forager.forage.evidence import Mutants
from forager.forage.judge import Judge
from forager.forage.mutate import all_sites, sample
from forager.forage.pipeline import forage
from forager.forage.reach import Reach, make_reach
from forager.forage.source import fetch_source
from forager.forage.trying import Turns
from forager.forage.validate import HASH_SEEDS, Suite, Verdict, run_suite
from forager.images.environment import ensure_environment
from forager.tasks import load_tasks

LONG = 5.0
"""Seconds of a suite from which five times as many mutants are wanted; below, as many as the whole suite manages."""
WORKERS = 2


async def measure(bench: Bench) -> Group:
    """The first mutants of each package's sample, judged both ways, one way after the other: as foraging does, and by
    the whole suite, twice, in the repository's own image."""
    figures: list[Figure] = []
    goals: list[Goal] = []
    for name, count in bench.repetitions.mutants:
        release = name.removeprefix("pypi:")
        report = await forage(bench.engine, [name], bench.directory / f"mutants-{release}", mutations=1, runs=2)
        tasks = load_tasks(report.tasks)
        if not tasks or tasks[0].environment is None:
            raise ForagerError(f"no task came of {name}: {report.repositories[0].reason}")
        plain = Suite(image=await ensure_environment(bench.engine, tasks[0].environment))
        source = await fetch_source(name, lambda _: None)
        sources = dict(scope.wanted_files(await asyncio.to_thread(source.read)))
        baseline = await _baseline(bench, plain, sources)
        began = time.perf_counter()
        reach = await make_reach(bench.engine, plain, baseline, sources)
        mapping = time.perf_counter() - began
        suite = await with_byte_code(bench.engine, plain, baseline, lambda _: None)
        order = sample(all_sites(sources), sources, "benchmark")
        bugs: list[Mutants] = [(mutant,) for mutant in islice(order, count)]
        quick, few = await _judge(bench, suite, baseline, sources, reach, bugs)
        slow, all_tests = await _judge(bench, plain, baseline, sources, None, bugs)
        same = sum(_same(few[bug], all_tests[bug]) for bug in bugs)
        figures.append(
            Figure(
                name=f"mutants judged, {release}",
                unit="a minute",
                values={
                    FORAGER: Value(value=60 * len(bugs) / quick, n=len(bugs)),
                    WHOLE: Value(value=60 * len(bugs) / slow, n=len(bugs)),
                },
                note=f"{release}: a suite of {baseline.seconds:.1f} s, {len(baseline.passing)} tests, mapped in "
                f"{mapping:.0f} s; the same verdict and lists of tests on {same} of {len(bugs)} mutants",
            )
        )
        wanted = 5.0 if baseline.seconds > LONG else 1.0
        goals.append(at_least(f"mutants judged beside the whole suite, {release}", slow / quick, wanted, "times"))
    return Group(figures=tuple(figures), goals=tuple(goals), notes=tuple(figure.note for figure in figures))


async def _baseline(bench: Bench, suite: Suite, sources: Mapping[str, bytes]) -> Baseline:
    async def run(number: int, shuffle: int | None) -> TestRun:
        return await run_suite(
            bench.engine, suite, timeout=600, hash_seed=HASH_SEEDS[number % len(HASH_SEEDS)], shuffle=shuffle
        )

    return await measure_suite(run, await run(0, None), sources, 2)


async def _judge(
    bench: Bench,
    suite: Suite,
    baseline: Baseline,
    sources: Mapping[str, bytes],
    reach: Reach | None,
    bugs: list[Mutants],
) -> tuple[float, dict[Mutants, Verdict]]:
    """Seconds that all took, and the verdicts."""
    found: dict[Mutants, Verdict] = {}
    judge = Judge(bench.engine, suite, baseline, sources, reach, Turns(WORKERS), bench.run_label)
    began = time.perf_counter()
    await judge.verdicts(bugs, found.__setitem__)
    return time.perf_counter() - began, found


def _same(ours: Verdict, whole: Verdict) -> bool:
    if ours.reason == "unreached":
        return whole.reason == "survived"
    return (ours.reason, ours.fail_to_pass, ours.pass_to_pass) == (
        whole.reason,
        whole.fail_to_pass,
        whole.pass_to_pass,
    )
