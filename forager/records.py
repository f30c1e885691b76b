"""The records: what Forager reads and writes, one JSON object a line.

Each record is a frozen `msgspec.Struct`: one definition gives validation, JSON Schema and speed. `Task` is a
superset of a SWE-bench instance; keys Forager does not know are kept in `Task.extra` and written back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from forager.errors import UsageError
from forager.plain import without_surrogates

TASK_SCHEMA = "forager.task/1"
TRAJECTORY_SCHEMA = "forager.trajectory/1"


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all records: immutable, keyword-only, defaults left out of the JSON."""


# ---------------------------------------------------------------------------------------------- tasks


class Environment(Record, frozen=True):
    """What to build for a task when there is no published image. Its digest keys the environment layer."""

    source: str
    """Where the repository comes from: `pypi:NAME==VERSION`, a git URL, or a local path."""
    sha256: str = ""
    """Digest of the source distribution, hex; checked at every fetch."""
    python: str = ""
    """Python version, `3.11`; empty means the base image's own."""
    system: tuple[str, ...] = ()
    """Debian packages."""
    packages: tuple[str, ...] = ()
    """Python requirements, pinned (`name==version`)."""
    pins: tuple[str, ...] = ()
    """Requirements installed after `packages`, whatever those asked for."""
    image: str = ""
    """The image to build on; empty means Forager's own base."""
    commit: str = ""
    """The commit to check out, in full, where `source` is a git repository."""
    prepare: str = ""
    """Shell commands run in the working directory before `install`; what they change in tracked files is undone."""
    problem: str = ""
    """Why there is nothing that can be built; whoever asks for the image is told so."""
    install: str = ""
    """Shell command that installs the repository itself, run in the working directory."""
    before: str = ""
    """ISO 8601: only releases that the index had by then are installed. Empty where `packages` are pinned."""
    env: dict[str, str] = {}


class Limits(Record, frozen=True):
    """Where an attempt ends. Zero means no limit (only for tokens and cost)."""

    steps: int = 128
    context: int = 131_072
    """Tokens of one prompt and its reply."""
    tokens: int = 0
    """Tokens of the whole attempt, prompts and completions added up."""
    cost: float = 0.0
    """US dollars."""
    seconds: float = 2400.0
    command_seconds: float = 120.0
    observation_bytes: int = 32_768
    invalid_replies: int = 3
    """Replies in a row without a valid tool call."""


class Task(Record, frozen=True):
    """One problem: a repository at a commit, what is wrong with it, and the tests that tell."""

    instance_id: str
    repo: str
    problem_statement: str
    base_commit: str = ""
    patch: str = ""
    """The reference fix as a unified diff, always in the fix direction."""
    test_patch: str = ""
    FAIL_TO_PASS: tuple[str, ...] = ()
    PASS_TO_PASS: tuple[str, ...] = ()
    source: str = "swebench"
    """How the task came to be: `mutation`, `commit`, `swebench`, ..."""
    image: str = ""
    environment: Environment | None = None
    workdir: str = "/testbed"
    setup: str = ""
    """A patch applied before the agent starts: the injected bug."""
    hidden_tests: dict[str, str] = {}
    """Path to content: taken out of the agent's tree, put back for grading."""
    test_command: str = "python -m pytest"
    test_format: str = "pytest"
    test_seconds: float = 600.0
    """Time limit of one grading run."""
    language: str = "python"
    limits: dict[str, float] = {}
    """Overrides of `Limits`, by field name."""
    provenance: dict[str, Any] = {}
    """operator, seed, commit, validation pass rates, solve rates ..."""
    extra: dict[str, Any] = {}
    """Keys of the file that Forager does not use, kept untouched."""
    schema: str = TASK_SCHEMA

    def limited(self, limits: Limits) -> Limits:
        """The limits of a run with what the task says differently. Raises `msgspec.ValidationError`."""
        for name in self.limits:
            if name not in Limits.__struct_fields__:
                raise msgspec.ValidationError(f"field 'limits': there is no limit {name!r}")
        return msgspec.convert({**msgspec.to_builtins(limits), **self.limits}, Limits, strict=False)


_TASK_KEYS = set(Task.__struct_fields__) - {"extra"}
_SWEBENCH_REQUIRED = ("instance_id", "repo", "problem_statement")


def decode_task(raw: dict[str, Any]) -> Task:
    """A `Task` from one JSON object, SWE-bench's or Forager's.

    Raises `UsageError` naming the field that is missing or wrong.
    """
    for key in _SWEBENCH_REQUIRED:
        if key not in raw:
            raise UsageError(f"task {raw.get('instance_id', '?')!s}: field {key!r} is missing")
    known = {key: value for key, value in raw.items() if key in _TASK_KEYS and value is not None}
    extra = {key: value for key, value in raw.items() if key not in _TASK_KEYS}
    if known.get("schema", TASK_SCHEMA) != TASK_SCHEMA:
        raise UsageError(
            f"task {raw['instance_id']}: schema {known['schema']!r} is not {TASK_SCHEMA!r}; a newer Forager wrote it"
        )
    if isinstance(known.get("image"), dict):  # some SWE-bench variants keep build data under this name
        extra["image"] = known.pop("image")
    for key in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        if isinstance(known.get(key), str):
            try:
                known[key] = msgspec.json.decode(known[key].encode() or b"[]", type=list[str])
            except msgspec.MsgspecError as error:
                raise UsageError(f"task {raw['instance_id']}: field {key!r}: {error}") from None
    try:
        task = msgspec.convert({**known, "extra": extra}, Task)
        task.limited(Limits())
        return task
    except msgspec.ValidationError as error:
        raise UsageError(f"task {raw['instance_id']}: {error}") from None


def encode_task(task: Task) -> dict[str, Any]:
    """The JSON object of a task: every known field (schema included), unknown ones back where they were."""
    fields = {name: getattr(task, name) for name in Task.__struct_fields__ if name != "extra"}
    return {**task.extra, **msgspec.to_builtins(fields)}


# ---------------------------------------------------------------------------------------- conversation


class ToolCall(Record, frozen=True):
    """One tool call of a reply, as the server gave it: `arguments` is the raw string, valid JSON or not."""

    id: str
    name: str
    arguments: str


class Usage(Record, frozen=True):
    """Tokens of one model call, or of many added up."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})

    @property
    def total(self) -> int:
        return self.prompt_tokens + self.completion_tokens


Message = dict[str, Any]
"""One message in OpenAI chat form: role, content, tool_calls, tool_call_id, reasoning_content."""


def text_of(message: Message) -> str:
    """The text of a message: its content, or the text parts of it."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


class Tokens(Record, frozen=True):
    """What a trainer needs of one model call, where the server gives it. Lengths are checked."""

    prompt_ids: tuple[int, ...] = ()
    completion_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()


class Reply(Record, frozen=True):
    """What a model answered: its message as it goes into the conversation, and what it cost."""

    message: Message
    usage: Usage = Usage()
    cost: float | None = 0.0
    """US dollars; None when prices are unknown."""
    finish_reason: str = ""
    seconds: float = 0.0
    tokens: Tokens | None = None

    @property
    def tool_calls(self) -> list[ToolCall]:
        return [
            ToolCall(id=c["id"], name=c["function"]["name"], arguments=c["function"]["arguments"])
            for c in self.message.get("tool_calls") or ()
        ]


# ---------------------------------------------------------------------------------------- trajectories


class TestFeedback(Record, frozen=True):
    """What a test run inside a command reported."""

    runner: str
    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0
    failing: tuple[str, ...] = ()
    """Ids of the failing tests, at most 50."""


class Seconds(Record, frozen=True):
    model: float = 0.0
    tool: float = 0.0


class Step(Record, frozen=True):
    """One action and what came of it."""

    n: int
    """Counts from 1."""
    assistant: int
    """Index in `messages` of the reply that asked for this action."""
    observation: int
    """Index in `messages` of what came back."""
    tool: str
    arguments: dict[str, Any]
    exit_code: int | None = None
    timed_out: bool = False
    output_bytes: int = 0
    """Before truncation."""
    truncated: bool = False
    seconds: Seconds = Seconds()
    usage: Usage | None = None
    """Of the model call; on the first step of a reply only, so that sums are right."""
    finish_reason: str = ""
    tokens: Tokens | None = None
    tests: TestFeedback | None = None


Cause = Literal["agent", "model", "infrastructure"]


class Status(Record, frozen=True):
    """A row of the outcome table."""

    cause: Cause
    retried: bool
    counts: bool
    """Whether the attempt goes into trajectories.jsonl and the score."""


STATUSES: dict[str, Status] = {
    "submitted": Status(cause="agent", retried=False, counts=True),
    "no_submission": Status(cause="agent", retried=False, counts=True),
    "step_limit": Status(cause="agent", retried=False, counts=True),
    "token_limit": Status(cause="agent", retried=False, counts=True),
    "context_limit": Status(cause="agent", retried=False, counts=True),
    "cost_limit": Status(cause="agent", retried=False, counts=True),
    "time_limit": Status(cause="agent", retried=False, counts=True),
    "format_error": Status(cause="model", retried=False, counts=True),
    "out_of_memory": Status(cause="agent", retried=False, counts=True),
    "disk_limit": Status(cause="agent", retried=False, counts=True),
    "sandbox_broken": Status(cause="agent", retried=False, counts=True),
    "model_error": Status(cause="infrastructure", retried=True, counts=False),
    "sandbox_error": Status(cause="infrastructure", retried=True, counts=False),
    "cancelled": Status(cause="infrastructure", retried=True, counts=False),
    "diverged": Status(cause="infrastructure", retried=True, counts=False),
}


class Outcome(Record, frozen=True):
    """How an attempt ended: a row of `STATUSES` and one line on why."""

    status: str
    detail: str = ""

    @property
    def cause(self) -> Cause:
        return STATUSES[self.status].cause

    @property
    def counts(self) -> bool:
        return STATUSES[self.status].counts


class TestLists(Record, frozen=True):
    """Which of a list of tests passed and which did not."""

    success: tuple[str, ...] = ()
    failure: tuple[str, ...] = ()


class Evaluation(Record, frozen=True):
    """The grade of one patch."""

    resolved: bool
    reward: float = 0.0
    """CWM's: 1 if resolved, else the similarity where it reaches the threshold, else 0 (raw, unscaled)."""
    similarity: float = 0.0
    """Mean per-file difflib ratio against the reference patch, 0 to 1."""
    patch_applied: bool = True
    fail_to_pass: TestLists = TestLists()
    pass_to_pass: TestLists = TestLists()
    tests: dict[str, str] = {}
    """Tests that did not plainly pass, listed ones first, at most 1,000: `failed`, `error`, `skipped`, `xfailed`,
    `xpassed`, or `missing`. The others of the two lists passed."""
    flags: tuple[str, ...] = ()
    """`no_patch`, `patch_failed`, `timeout`, `tampered`, `ungradable`, `test_files_restored`, ..."""
    detail: str = ""
    seconds: float = 0.0
    log: str = ""
    """File of the test output, relative to the run directory."""


class TaskRef(Record, frozen=True):
    """What a trajectory says of its task."""

    repo: str
    base_commit: str
    source: str
    image: str = ""
    """Digest of the image the agent worked in."""
    digest: str = ""
    """Digest of the task record."""


class ModelRef(Record, frozen=True):
    """Which model, and how it was asked."""

    name: str
    provider: str
    protocol: str = "tools"
    sampling: dict[str, Any] = {}


class Parent(Record, frozen=True):
    """The attempt that another one branched off."""

    run_id: str
    id: str
    """Its attempt id."""
    step: int
    """The last step they share; 0 if they share nothing but the opening."""


class Trajectory(Record, frozen=True):
    """One finished attempt, self-contained: a trainer needs nothing else."""

    id: str
    """`<instance_id>#<sample>`"""
    run_id: str
    instance_id: str
    sample: int
    task: TaskRef
    model: ModelRef
    tools: tuple[dict[str, Any], ...]
    messages: tuple[Message, ...]
    steps: tuple[Step, ...]
    patch: str | None
    """The submitted diff; null if none was submitted."""
    final_diff: str | None
    """The working tree's diff when the attempt ended, whatever the ending; null if it could not be taken."""
    outcome: Outcome
    evaluation: Evaluation | None = None
    usage: Usage = Usage()
    cost: float | None = 0.0
    seconds: float = 0.0
    """Wall time of the attempt, grading excluded."""
    started: str = ""
    """UTC, ISO 8601."""
    ended: str = ""
    versions: dict[str, str] = {}
    retries: int = 0
    parent: Parent | None = None
    """Set if it began with the messages and steps of another attempt. Its usage counts their tokens again, its cost
    and its seconds do not count theirs."""
    schema: str = TRAJECTORY_SCHEMA


class Prediction(Record, frozen=True, omit_defaults=False):
    """A SWE-bench prediction."""

    instance_id: str
    model_name_or_path: str
    model_patch: str


# -------------------------------------------------------------------------------------------- helpers


def encode(record: Any) -> bytes:
    """One line of JSON, without the newline. What is no text (a lone surrogate) becomes U+FFFD: it must not cost the
    record."""
    try:
        return msgspec.json.encode(record)
    except UnicodeEncodeError:
        return msgspec.json.encode(_as_text(msgspec.to_builtins(record)))


def _as_text(value: Any) -> Any:
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, dict):
        return {_as_text(key): _as_text(one) for key, one in value.items()}
    return [_as_text(one) for one in value] if isinstance(value, list) else value


def digest(record: Any) -> str:
    """Hex SHA-256 of a record's JSON; equal records have equal digests."""
    return hashlib.sha256(msgspec.json.encode(record, order="sorted")).hexdigest()


def read_trajectories(path: Path | str) -> Iterator[Trajectory]:
    """The trajectories of a file, one at a time.

    Raises `UsageError` naming the line that is broken or from a newer schema.
    """
    path = Path(path)
    decoder = msgspec.json.Decoder(Trajectory)
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    with file:
        for number, line in enumerate(file, 1):
            try:
                trajectory = decoder.decode(line)
            except msgspec.MsgspecError as error:
                raise UsageError(f"{path}, line {number}: not a trajectory: {error}") from None
            if trajectory.schema != TRAJECTORY_SCHEMA:
                raise UsageError(f"{path}, line {number}: schema {trajectory.schema!r} is newer than this Forager")
            yield trajectory


def safe_name(identifier: str) -> str:
    """A file name for any identifier: readable, at most 100 characters, and different for different identifiers."""
    plain = re.sub(r"[^A-Za-z0-9._#=+-]", "_", identifier).lstrip(".")[:80]
    if plain == identifier:
        return plain
    return f"{plain}-{hashlib.sha256(identifier.encode()).hexdigest()[:12]}"
