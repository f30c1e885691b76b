"""Git histories made for tests, with a past, a future and things that must not be seen."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from forager.records import Record


class History(Record, frozen=True):
    """A clone with the commits `past`, `base`, `future` on main, one on another branch, tags and a stash."""

    path: Path
    past: str
    base: str
    future: str
    side: str


def git(path: Path, *arguments: str) -> str:
    """Run git the way a user would, apart from the user's own settings."""
    env = {"PATH": os.environ["PATH"], "HOME": str(path), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    names = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *names, *arguments], cwd=path, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def make_history(
    path: Path, files: Mapping[str, str], fix: Mapping[str, str], *, past: Mapping[str, str] | None = None
) -> History:
    """A clone in `path`: first a commit `past`, then one with `files` (the base), then one with the `fix`."""
    path.mkdir(parents=True)
    git(path, "init", "-q")
    first = _commit(path, {"README": "the past\n", **(past or {})}, "Past")
    git(path, "tag", "-m", "1.2", "v1.2")
    base = _commit(path, files, "Base")
    git(path, "checkout", "-q", "-b", "side")
    side = _commit(path, {"side.txt": "text of a side branch\n"}, "Side")
    git(path, "checkout", "-q", "main")
    future = _commit(path, fix, "The fix")
    git(path, "tag", "v2.0")
    (path / "README").write_text("text of a stash\n")
    git(path, "stash")
    return History(path=path, past=first, base=base, future=future, side=side)


def _commit(path: Path, files: Mapping[str, str], message: str) -> str:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    git(path, "add", "--all", "--force")
    git(path, "commit", "-q", "-m", message)
    return git(path, "rev-parse", "HEAD")
