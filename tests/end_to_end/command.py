"""The real `forager` command in processes of its own, and what it leaves in the engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from forager.errors import SandboxError
from forager.records import Prediction, Trajectory, read_trajectories
from forager.run.report import RunReport
from forager.run.store import Failure
from forager.sandbox.engine import Engine, errors
from forager.sandbox.labels import OWNER

FORAGER = Path(sys.executable).with_name("forager")
PATIENCE = 120.0
"""Seconds after which a test that waits for a process gives up; the machine may be busy."""


Command = list[str | Path]
"""The arguments of a `forager` command."""


@dataclass(frozen=True)
class Result:
    """What a finished command left."""

    code: int
    out: str
    err: str

    def complaint(self, code: int) -> str:
        """The one line of a command that ended with this exit code and said why, in one line and no traceback."""
        assert (self.code, self.err.count("\n")) == (code, 1), self
        assert self.err.startswith("forager: ") and "Traceback" not in self.err + self.out, self
        return self.err.removeprefix("forager: ").rstrip("\n")

    def fine(self) -> str:
        """The output of a command that ended well and complained of nothing."""
        assert (self.code, self.err) == (0, ""), self
        return self.out


def environment(**more: str) -> dict[str, str]:
    """The environment of a user at home: nothing of a model server, of this test run or of its terminal."""
    dropped = ("OPENAI_", "PYTEST_", "COV_", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES", "TTY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "COLUMNS": "120", **more}


def start(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    stdout: int | IO[Any] = subprocess.PIPE,
    stderr: int | IO[Any] = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """Start `forager` with these arguments in a process group of its own."""
    command = [*prefix, str(FORAGER), *map(str, arguments)]
    return subprocess.Popen(
        command,
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> Result:
    """Wait for a command's end."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return Result(process.returncode, out, err)


def forager(*arguments: str | Path, env: Mapping[str, str] | None = None, prefix: Sequence[str] = ()) -> Result:
    """Run `forager` to its end."""
    return finish(start(*arguments, env=env, prefix=prefix))


@contextmanager
def running(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """`forager` under way; killed at the block's end if it is still there."""
    process = start(*arguments, env=env)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def interrupt(process: subprocess.Popen[str]) -> None:
    """What Ctrl-C does: SIGINT to everybody in the foreground."""
    os.killpg(process.pid, signal.SIGINT)


def until(condition: Callable[[], Any], what: str, process: subprocess.Popen[Any] | None = None) -> Any:
    """Wait for what tells nobody that it happened; its first true value. If `process` ends before, that is told."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        if process is not None and process.poll() is not None:
            said = process.communicate() if process.stdout is not None else ""
            raise AssertionError(f"{what}: ended before, with {process.returncode}: {said}")
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.02)
    return value


def containers(engine: Engine, *pids: int) -> list[dict[str, Any]]:
    """The containers that these processes made, whatever state they are in."""
    found = engine.api.containers(all=True, filters={"label": OWNER})
    return [one for one in found if one["Labels"][OWNER].split("/")[1:2] in [[str(pid)] for pid in pids]]


def none_left(engine: Engine, *pids: int) -> None:
    """Wait until the engine has done with the containers of these processes; fail if one stays."""
    for container in containers(engine, *pids):
        if container["State"] not in ("created", "exited"):  # else nothing will happen to it any more
            gone(engine, container["Id"])
    until(lambda: not containers(engine, *pids), f"no container left: {containers(engine, *pids)}")


def gone(engine: Engine, container: str) -> None:
    """Wait until a container is no more."""
    try:
        with errors("waiting"):
            engine.api.wait(container, condition="removed", timeout=int(PATIENCE))
    except SandboxError as error:
        if error.engine_status != 404:
            raise


@dataclass(frozen=True)
class RunDirectory:
    """A run directory, read as a user would: through the records."""

    path: Path
    trajectories: list[Trajectory] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)

    @property
    def report(self) -> RunReport:
        return msgspec.json.decode((self.path / "report.json").read_bytes(), type=RunReport)

    def only(self) -> Trajectory:
        """The trajectory of a run of one attempt."""
        assert len(self.trajectories) == 1, self.trajectories
        return self.trajectories[0]


def read(path: Path) -> RunDirectory:
    """What a run left. Every line must decode, and predictions must say what trajectories say."""
    trajectories = list(read_trajectories(path / "trajectories.jsonl"))
    predictions = [
        msgspec.json.decode(line, type=Prediction) for line in (path / "preds.jsonl").read_bytes().splitlines()
    ]
    failures = [
        msgspec.json.decode(line, type=Failure) for line in (path / "failures.jsonl").read_bytes().splitlines()
    ]
    for name in ("trajectories", "preds", "failures"):
        data = (path / f"{name}.jsonl").read_bytes()
        assert not data or data.endswith(b"\n"), f"{name}.jsonl is torn"
    told = [(one.instance_id, one.model.name, one.patch or "") for one in trajectories]
    assert [(one.instance_id, one.model_name_or_path, one.model_patch) for one in predictions] == told
    return RunDirectory(path, trajectories, failures, predictions)
