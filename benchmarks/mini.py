"""mini-swe-agent from PyPI, in an environment of its own under the user's cache directory, driven in a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from forager.errors import UnfitError
from forager.images.lock import cache_dir

VERSION = "2.4.6"
"""Pinned: its interface is used, not only its command line."""

DRIVER = Path(__file__).with_name("mini_driver.py")


class Mini:
    """The driver process. `ask` blocks."""

    def __init__(self, python: Path, image: str, workdir: str, labels: Mapping[str, str]) -> None:
        self.script = python.parent / "mini"
        """Its console script."""
        self.environment = {
            **os.environ,
            "MSWEA_SILENT_STARTUP": "1",
            "MSWEA_CONFIGURED": "true",
            "MSWEA_GLOBAL_CONFIG_DIR": str(python.parents[1] / "config"),
        }
        self._process = subprocess.Popen(
            [python, DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        self.pid = self._process.pid
        self._tell({"image": image, "workdir": workdir, "labels": dict(labels)})

    @classmethod
    def started(cls, say: Callable[[str], None], image: str, workdir: str, labels: Mapping[str, str]) -> Mini | None:
        """The peer, installed if need be; None, and a line that says why, where it can't be measured."""
        if shutil.which("docker") is None:
            say(f"mini-swe-agent {VERSION} is left out: it needs the docker command-line client, and there is none")
            return None
        try:
            python = _installed(say)
        except UnfitError as error:
            say(f"mini-swe-agent {VERSION} is left out: {error}")
            return None
        return cls(python, image, workdir, labels)

    def ask(self, do: str, **arguments: Any) -> Any:
        """Have the driver do something; its answer."""
        self._tell({"do": do, **arguments})
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"mini-swe-agent's driver ended in {do!r}; its error is above")
        return json.loads(answer)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()


def _installed(say: Callable[[str], None]) -> Path:
    """The interpreter of the environment. Raises `UnfitError` when it can't be made."""
    tag = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache_dir() / "benchmarks" / f"mini-swe-agent-{VERSION}-python{tag}"
    python, stamp = folder / "bin" / "python", folder / ".complete"
    if stamp.exists() and python.exists():
        return python
    say(f"installing mini-swe-agent {VERSION} (once; a few minutes)")
    shutil.rmtree(folder, ignore_errors=True)
    package = f"mini-swe-agent=={VERSION}"
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", package]
    for command in ([sys.executable, "-m", "venv", str(folder)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["it failed without a word"]
            raise UnfitError(f"`{' '.join(command[1:4])} ...`: {said[-1]}")
    stamp.touch()
    return python
