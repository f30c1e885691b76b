"""What a call of `forage` asks of each repository, and how much of it goes on at once."""

from __future__ import annotations

import asyncio
from typing import Literal

from forager.forage.baseline import RUNS
from forager.forage.bugs import Wanted
from forager.forage.explore import LIMITS
from forager.forage.hide import Hide
from forager.forage.linked import Issues
from forager.forage.statement import Detail
from forager.forage.trying import Turns
from forager.models.registry import Models
from forager.records import Limits, Record

WANTED = ("mutations", "implementations", "rewrites", "commits")
"""Settings and fields of a record: how many tasks of each kind are wanted."""


class Settings(Record, frozen=True):
    """How to forage each repository."""

    mutations: int = 8
    """Tasks wanted."""
    seed: int = 0
    suite_seconds: float = 300.0
    """The longest that the suite of the clean code may take."""
    runs: int = RUNS
    """Of the clean code's suite."""
    implementations: int = 0
    """Tasks wanted to write a function again."""
    rewrites: int = 0
    """Tasks wanted with a function that the model has rewritten with a bug."""
    statements: Literal["template", "model"] = "template"
    """Where those of bugs come from."""
    commits: int = 0
    """Tasks wanted of the history."""
    detail: Detail = "full"
    """Of the statements."""
    hide_tests: Hide = ""
    """Whether the agent finds the failing tests of an injected bug in its tree."""
    issues: Issues = Issues()
    """Issues that commits may link to."""
    model: Models | None = None
    """Makes the model to ask where rules do not do, a fresh one for each conversation (`model.openai()`); its
    connections are closed by whoever opened them. None: no model is asked."""
    explore: Limits = LIMITS
    """Of the agent that looks for an environment where rules find none."""

    @property
    def bugs(self) -> Wanted:
        return Wanted(mutations=self.mutations, implementations=self.implementations, rewrites=self.rewrites)


class Slots:
    """How much goes on at once over all repositories."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.repositories = asyncio.Semaphore(2 * workers)  # some build or compute while others test
        self.tests = Turns(workers)
        self.agents = asyncio.Semaphore(workers)  # what they hand in takes the other slots
        self.builds = asyncio.Semaphore(workers)
