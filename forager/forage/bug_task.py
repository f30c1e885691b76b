"""The task of a validated bug, and its statement: from a template, or by a model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from msgspec import structs

from forager.forage import scope
from forager.forage.diffs import unified
from forager.forage.evidence import Mutants
from forager.forage.implement_statement import implement_statement
from forager.forage.mutate import Mutant, apply_all
from forager.forage.mutations import operator_of
from forager.forage.replies import Asking
from forager.forage.results import WorkBaseline
from forager.forage.source import Source
from forager.forage.statement import Detail, closing, make_statement
from forager.forage.validate import HASH_SEEDS, Verdict
from forager.forage.written import Material, Written, write_report
from forager.records import Task


def make_task(
    source: Source,
    known: WorkBaseline,
    mutants: Mutants,
    verdict: Verdict,
    files: Mapping[str, bytes],
    *,
    seed: int,
    detail: Detail,
    hidden: bool,
    model: str = "",
) -> Task:
    """The task of a bug. Nothing in it but `patch`, `setup` and `provenance` tells the change.

    `hidden` says that the failing tests will be taken out of the agent's tree; `model` made the bug, if one did.
    """
    buggy = dict(sorted(apply_all(mutants, files).items()))
    setup = "".join(unified(path, files[path], content) for path, content in buggy.items())
    first, operator = mutants[0], operator_of(mutants)
    short = hashlib.sha256(setup.encode()).hexdigest()[:8]
    runs = len(HASH_SEEDS)
    tests, count = _tests(files), len(verdict.fail_to_pass)
    if operator == "implement":
        statement = implement_statement(
            source.name,
            source.version,
            verdict.failures,
            tests,
            mutant=first,
            source=files[first.file],
            diff=setup,
            count=count,
            detail=detail,
            hidden=hidden,
        )
    else:
        statement = make_statement(
            source.name,
            source.version,
            verdict.failures,
            tests,
            file=first.file,
            diff=setup,
            count=count,
            detail=detail,
            hidden=hidden,
        )
    return Task(
        instance_id=f"{source.prefix}-{operator}-{short}",
        repo=source.repo,
        base_commit=source.commit,
        problem_statement=statement,
        patch="".join(unified(path, content, files[path]) for path, content in buggy.items()),
        FAIL_TO_PASS=verdict.fail_to_pass,
        PASS_TO_PASS=verdict.pass_to_pass,
        source="mutation",
        environment=known.environment,
        setup=setup,
        test_seconds=grading_limit(known.baseline.seconds),
        provenance={
            "operator": operator,
            "file": first.file,
            "function": first.function,
            "line": first.line,
            **({"places": [_place(mutant) for mutant in mutants]} if len(mutants) > 1 else {}),
            **({"model": model} if model else {}),
            "seed": seed,
            "runs": {"clean": known.baseline.runs, "mutated": runs},
            "pass_rates": {
                "FAIL_TO_PASS": {"clean": 1.0, "mutated": 0.0},
                "PASS_TO_PASS": {"clean": 1.0, "mutated": 1.0},
            },
            "unstable": list(verdict.unstable[:50]),
            "baseline_seconds": round(known.baseline.seconds, 2),
            **({"environment_attempt": known.attempt} if known.attempt else {}),
        },
    )


async def reworded(
    task: Task,
    asking: Asking,
    source: Source,
    mutants: Mutants,
    verdict: Verdict,
    files: Mapping[str, bytes],
    *,
    detail: Detail,
    hidden: bool,
) -> tuple[Task, Written]:
    """The task with a statement by a model, or as it is where none passed the check. Raises as `Asking.ask` does."""
    material = Material(
        name=source.name,
        version=source.version,
        files=tuple(sorted({mutant.file for mutant in mutants})),
        functions=tuple(sorted({mutant.function for mutant in mutants if mutant.function})),
        diff="".join(
            unified(path, files[path], content) for path, content in sorted(apply_all(mutants, files).items())
        ),
        failures=verdict.failures,
        sources=_tests(files),
        detail=detail,
        hidden=hidden,
    )
    written = await write_report(asking, material)
    if not written.report:
        return structs.replace(task, provenance={**task.provenance, "statement": "template"}), written
    return structs.replace(
        task,
        problem_statement=f"{written.report}\n\n{closing(len(verdict.fail_to_pass), hidden)}\n",
        provenance={**task.provenance, "statement": "model", "statement_model": written.model},
    ), written


def grading_limit(seconds: float) -> float:
    """Seconds of one grading run: generous, and the same for the same suite on machines of like speed."""
    return next((limit for limit in (60.0, 120.0, 300.0, 600.0, 1200.0) if limit >= 10 * seconds + 30), 3600.0)


def _tests(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Python files that are not the package's own code."""
    return {path: data for path, data in files.items() if path.endswith(".py") and not scope.wanted_file(path)}


def _place(mutant: Mutant) -> dict[str, object]:
    return {name: getattr(mutant, name) for name in ("operator", "file", "function", "line")}
