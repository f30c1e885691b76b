"""The evaluation directory: one verdict a line for each graded prediction, and SWE-bench's instance reports."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from forager.errors import UsageError
from forager.files import LineFile, WriterLock, cannot_write, whole_lines, write_atomic
from forager.records import Evaluation, Record, Task, TestLists, digest, encode
from forager.run.predictions import Candidate
from forager.run.store import Failure, refuse_foreign, utc_now, write_log

VERDICT_SCHEMA = "forager.verdict/1"


class Verdict(Record, frozen=True, omit_defaults=False):
    """A line of evaluations.jsonl: one graded prediction."""

    id: str
    instance_id: str
    sample: int
    model_name_or_path: str
    patch: str
    """Hex SHA-256 of the patch; empty when the prediction has none (null)."""
    task: str
    """Digest of the task record."""
    patch_exists: bool
    evaluation: Evaluation
    time: str
    """UTC, ISO 8601."""
    schema: str = VERDICT_SCHEMA


def read_verdicts(directory: Path) -> Iterator[Verdict]:
    """The verdicts of an evaluation directory. Raises `UsageError` naming a line that is damaged."""
    path = directory / "evaluations.jsonl"
    decoder = msgspec.json.Decoder(Verdict)
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    with file:
        for number, line in enumerate(whole_lines(file), 1):
            try:
                yield decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise UsageError(f"{path}, line {number} is damaged: {error}") from None


def instance_report(verdict: Verdict) -> dict[str, Any]:
    """SWE-bench's report of one instance. `tests_status` is there when tests ran."""
    evaluation = verdict.evaluation
    report: dict[str, Any] = {
        "patch_is_None": verdict.patch == "",
        "patch_exists": verdict.patch_exists,
        "patch_successfully_applied": verdict.patch_exists and evaluation.patch_applied,
        "resolved": evaluation.resolved,
    }
    if report["patch_successfully_applied"]:
        report["tests_status"] = {
            "FAIL_TO_PASS": _lists(evaluation.fail_to_pass),
            "PASS_TO_PASS": _lists(evaluation.pass_to_pass),
            "FAIL_TO_FAIL": _lists(TestLists()),
            "PASS_TO_FAIL": _lists(TestLists()),
        }
    return report


class VerdictStore:
    """The evaluation directory, open for its one writer, with the task and the patch of each verdict checked.

    Raises `UsageError` when it graded other input, `UnfitError` when the disk does not take a line.
    """

    def __init__(self, path: Path, known: Mapping[str, Task], candidates: Sequence[Candidate]) -> None:
        refuse_foreign(path, "evaluations.jsonl", {"logs"}, "an evaluation")
        try:
            (path / "logs").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error
        self._path = path
        self._open: list[WriterLock | LineFile] = []
        try:
            self._open.append(WriterLock(path))
            self._verdicts = LineFile(path / "evaluations.jsonl", path / "torn")
            self._open.append(self._verdicts)
            self._failures = LineFile(path / "failures.jsonl", path / "torn")
            self._open.append(self._failures)
            self.graded = self._read(known, candidates)
        except BaseException:
            self.close()
            raise

    def _read(self, known: Mapping[str, Task], candidates: Sequence[Candidate]) -> set[str]:
        asked = {candidate.id: candidate for candidate in candidates}
        tasks = {name: digest(task) for name, task in known.items()}
        graded: set[str] = set()
        differing: list[str] = []
        for verdict in read_verdicts(self._path):
            graded.add(verdict.id)
            candidate = asked.get(verdict.id)
            if candidate is not None and verdict.patch != _patch_digest(candidate.patch):
                differing.append(f"{verdict.id}: another patch")
            if tasks.get(verdict.instance_id, verdict.task) != verdict.task:
                differing.append(f"{verdict.id}: another task")
        if differing:
            some = "; ".join(differing[:5]) + ("; …" if len(differing) > 5 else "")
            raise UsageError(f"{self._path} graded other input ({some}); choose another -o")
        return graded

    def add(self, task: Task, candidate: Candidate, evaluation: Evaluation) -> None:
        verdict = Verdict(
            id=candidate.id,
            instance_id=candidate.instance_id,
            sample=candidate.sample,
            model_name_or_path=candidate.model_name_or_path,
            patch=_patch_digest(candidate.patch),
            task=digest(task),
            patch_exists=bool(candidate.patch and candidate.patch.strip()),
            evaluation=evaluation,
            time=utc_now(),
        )
        self._verdicts.append(encode(verdict))
        self.graded.add(candidate.id)

    def add_failure(self, failure: Failure) -> None:
        self._failures.append(encode(failure))

    def verdicts(self) -> Iterator[Verdict]:
        return read_verdicts(self._path)

    def write_log(self, name: str, text: str) -> str:
        return write_log(self._path, name, text)

    def write_reports(self, reports: dict[str, Any]) -> None:
        write_atomic(self._path / "reports.json", msgspec.json.format(encode(reports), indent=2) + b"\n")

    def close(self) -> None:
        while self._open:
            self._open.pop().close()

    def __enter__(self) -> VerdictStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _patch_digest(patch: str | None) -> str:
    return "" if patch is None else hashlib.sha256(patch.encode("utf-8", "replace")).hexdigest()


def _lists(lists: TestLists) -> dict[str, list[str]]:
    return {"success": list(lists.success), "failure": list(lists.failure)}
