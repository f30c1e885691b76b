"""Grading: apply a patch in a fresh sandbox, run the tests, compare; the similarity reward."""

from forager.evaluate.grading import grade, grade_in, judge
from forager.evaluate.reward import similarity
from forager.evaluate.testrun import TestRun, run_tests

__all__ = ["TestRun", "grade", "grade_in", "judge", "run_tests", "similarity"]
