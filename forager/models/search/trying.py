"""Trying candidates: the likeliest by hand, the next ones by a script, and what passes against the whole suite."""

from __future__ import annotations

import re
import shlex

from forager.models.search import observations as seen
from forager.models.search.editing import can_join, search_replace, with_change
from forager.models.search.session import SUITE_SECONDS, Session, Steps
from forager.models.search.source import Candidate, Fragment

BY_HAND = 3
BATCH = 30
TRIALS = 60
"""Candidates that the script tries in all: of right ones that are not among the likeliest sixty, few come later."""
HANG_SECONDS = 3.0
"""What a test that may not end is given."""
NEIGHBOURS = 8
"""Changes to the same line that are tried next when one makes some tests pass."""


class Trying(Session):
    """Goes through `order`. At most one candidate is applied at any time."""

    applied: Candidate | None = None
    tried = 0

    fragments: list[Fragment]
    failing: tuple[str, ...]
    """Tests that fail and could pass."""
    chosen: tuple[str, ...]
    """Those of them that a try has to pass before the whole suite is run."""
    first: seen.Report
    """The suite before any change."""
    best: tuple[int, Candidate] | None = None
    """How many of the chosen tests passed before one failed, and with what."""

    def try_all(self, order: list[Candidate]) -> Steps[str]:
        """Try the candidates in order. Returns the session's last sentence."""
        pending = list(order)
        scripted = "-m pytest" in self.pytest
        by_hand = BY_HAND if scripted else TRIALS
        while pending and self.tried < by_hand and self.may_go_on():
            candidate = pending.pop(0)
            if self.parses(candidate) and (yield from self.by_hand(candidate)):
                return (yield from self.submit("The suite passes. Look at the change once more."))
        if scripted and pending and self.may_go_on():
            yield from self.change_to(None)
            remark = "None of the likeliest changes helped. Write a script that tries many of them, one at a time."
            yield from self.script("trials.py", remark)
            if (yield from self.by_script(pending)):
                return (yield from self.submit("The suite passes. Look at the change once more."))
        if (yield from self.partly()):
            return (
                yield from self.submit(
                    "I found nothing that makes all pass; with this most of the failing tests pass, and none broke."
                )
            )
        yield from self.change_to(None)
        return f"I tried {self.tried} changes and none made the failing tests pass. I took them back and give up."

    def by_hand(self, candidate: Candidate) -> Steps[bool]:
        """Edit, test, and the whole suite if that passes."""
        if not (yield from self.change_to(candidate)):
            return False
        self.tried += 1
        options = "-x --tb=no"
        observation = yield from self.test(self.chosen, options, "Do the failing tests pass now?", self.hang())
        report = seen.read_report(observation)
        if report.good:
            return (yield from self.passes())
        self.note(report.passed, candidate)
        return False

    def by_script(self, pending: list[Candidate]) -> Steps[bool]:
        """Batches of changes, each tried by the script, which stops at one that passes."""
        end = self.tried + TRIALS
        while pending and self.tried < end and self.may_go_on():
            if not (yield from self.change_to(None)):
                break
            batch = self.batch(pending, min(BATCH, end - self.tried))
            changes = "\n".join(self.described(n, candidate) for n, candidate in batch.items())
            command = self.pytest.replace("-m pytest", f"{self.scratch}/trials.py {self.hang():.0f}")
            ids = " ".join(map(shlex.quote, self.chosen))
            remark = f"Try the {len(batch)} likeliest changes that are left."
            observation = yield from self.bash(
                f"{self.timeout(SUITE_SECONDS)} {command} {ids} <<'END'\n{changes}\nEND", remark
            )
            results = re.findall(r"^(\d+) (passes|fails after (\d+))", observation, re.MULTILINE)
            done = [int(n) for n, _, _ in results]
            self.tried = max([self.tried + 1, *done])
            pending[:0] = [candidate for n, candidate in batch.items() if n > self.tried]
            if seen.split_output(observation)[1] != 0:
                paths = " ".join(sorted({shlex.quote(candidate.path) for candidate in batch.values()}))
                yield from self.bash(f"git checkout -- {paths}", "That took too long. See that no change is left.")
            for number, result, passed in results:
                candidate = batch.get(int(number))
                if candidate and result == "passes":
                    if (yield from self.change_to(candidate, known=True)) and (yield from self.passes()):
                        return True
                elif candidate and self.note(int(passed), candidate):
                    near = [c for c in pending if (c.path, c.line) == (candidate.path, candidate.line)][:NEIGHBOURS]
                    pending[:] = near + [c for c in pending if c not in near]
        return False

    def batch(self, pending: list[Candidate], count: int) -> dict[int, Candidate]:
        """Takes the next candidates that parse, with the numbers they are tried under."""
        found: dict[int, Candidate] = {}
        while pending and len(found) < count:
            candidate = pending.pop(0)
            if self.parses(candidate):
                found[self.tried + len(found) + 1] = candidate
        return found

    def described(self, number: int, candidate: Candidate) -> str:
        """A candidate as the script reads it."""
        fragment = self.fragment(candidate)
        old = fragment.lines[candidate.first - fragment.first : candidate.last - fragment.first + 1]
        lines = [f"{number} {candidate.path}:{candidate.first}", *("-" + line for line in old)]
        return "\n".join([*lines, *("+" + line for line in candidate.lines)])

    def hang(self) -> float:
        return HANG_SECONDS + 3 * self.seconds

    def note(self, passed: int, candidate: Candidate) -> bool:
        """Remember a candidate with which more tests pass than with any before. Whether it is one."""
        if not passed or (self.best and self.best[0] >= passed):
            return False
        self.best = (passed, candidate)
        return True

    def passes(self) -> Steps[bool]:
        """Whether the whole suite passes now, but for tests that no change can make pass."""
        rest = yield from self.whole_suite("The failing tests pass. Check the whole suite.")
        unfixable = set(self.first.failing) - set(self.failing)
        return bool(rest.passed and set(rest.failing) <= unfixable and rest.failed <= len(unfixable))

    def partly(self) -> Steps[bool]:
        """Go back to the best change there was, if half of the tests pass with it and none broke."""
        if not self.best or self.best[0] < len(self.chosen) / 2 or not (yield from self.change_to(self.best[1])):
            return False
        rest = yield from self.whole_suite("Some of the failing tests pass with this one. Does anything else break?")
        return rest.passed > self.first.passed and set(rest.failing) < set(self.first.failing)

    def whole_suite(self, remark: str) -> Steps[seen.Report]:
        return seen.read_report((yield from self.test((), "--tb=no", remark, SUITE_SECONDS)))

    def submit(self, remark: str) -> Steps[str]:
        yield from self.bash("git diff", remark)
        yield from self.act("submit", "The change is small and does what I meant. Submit.")
        return "The change is submitted."

    # -- editing -----------------------------------------------------------------------------------------

    def parses(self, candidate: Candidate) -> bool:
        fragment = self.fragment(candidate)
        changed = Fragment(fragment.path, fragment.first, with_change(fragment, candidate))
        return changed.parse() is not None

    def fragment(self, candidate: Candidate) -> Fragment:
        return next(
            f for f in self.fragments
            if f.path == candidate.path and f.first <= candidate.first and candidate.last <= f.last
        )  # fmt: skip

    def change_to(self, candidate: Candidate | None, known: bool = False) -> Steps[bool]:
        """Take back the last try and make this one, in one edit if they are near. False if it could not be made."""
        old = self.applied
        if old is not None and (candidate is None or not can_join(self.fragment(candidate), old, candidate)):
            if not (yield from self.edit(self.fragment(old), old, None, "That did not help. Take it back.")):
                return False
            old = None
        if candidate is None:
            return True
        remark = f"Line {candidate.line} of {candidate.path} is suspicious: {candidate.remark}."
        if known:
            remark = f"With change {self.tried} they pass: {candidate.remark}. Make it."
        if old is not None:
            remark = "That did not help. " + remark
        return (yield from self.edit(self.fragment(candidate), old, candidate, remark))

    def edit(self, fragment: Fragment, old: Candidate | None, new: Candidate | None, remark: str) -> Steps[bool]:
        for extra in (0, 2, 5):
            texts = search_replace(fragment, self.fragments, old, new, extra)
            if texts is None:
                return False
            observation = yield from self.act("edit", remark, path=fragment.path, search=texts[0], replace=texts[1])
            if not observation.startswith("Error"):
                self.applied = new
                return True
            remark = "Name more lines, so that there is only one such place."
        return False
