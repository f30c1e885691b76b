"""The repository layer of a git repository: one commit and its ancestors, checked out at `/testbed` and installed.

What comes in is a pack of that history and of nothing else: no later commit, tag, branch or remote was ever there.
"""

from __future__ import annotations

import asyncio
import re
import tarfile
import tempfile
from pathlib import Path

from forager.errors import ForageError, UsageError
from forager.images import mirrors
from forager.images.archive import TIME
from forager.images.build import Report, image_exists
from forager.images.environment import (
    LAYER_SECONDS,
    VENV,
    VENV_PATH,
    WORKDIR,
    dependencies_tag,
    ensure_dependencies,
    ensure_root,
    environment_script,
    newest,
)
from forager.images.index import public_url
from forager.images.layer import add_layer
from forager.records import Environment, digest
from forager.sandbox.engine import Engine

_SCRIPTS = ("history", "install", "vendored", "history-end")


async def ensure_repository(
    engine: Engine, environment: Environment, report: Report | None = None, *, timeout: float = LAYER_SECONDS
) -> str:
    """The tag of the image with `environment.commit` of its git repository at `/testbed`, installed, not yet sealed.

    At once if it exists. `timeout` in seconds is each layer's. Raises `UsageError` for a source or commit that means
    nothing, `ForageError` when the commit or its history cannot be had, `BuildError` and `UnfitError` for what
    happens while building.
    """
    commit = environment.commit
    if not mirrors.COMMIT.fullmatch(commit):
        raise UsageError(f"environment.commit {commit!r} is not a commit: 40 hexadecimal digits, in lower case")
    mirrors.check_source(environment.source)
    root = await ensure_root(engine, environment, report)
    tag = repository_tag(dependencies_tag(root, environment), environment)
    if await image_exists(engine, tag):
        return tag
    dependencies = await ensure_dependencies(engine, root, environment, report, timeout=timeout)
    mirror = await mirrors.mirror(environment.source, [commit], report=report)
    if await asyncio.to_thread(mirrors.missing, mirror, [commit]):
        where = public_url(environment.source)
        raise ForageError(f"commit {commit[:12]} is not in the clone of {where}; fetch it there, or give --repos DIR")
    version = await asyncio.to_thread(mirrors.version_at, mirror, commit)
    with tempfile.TemporaryDirectory(prefix="forager-") as folder:
        files = await asyncio.to_thread(_write_tar, mirror, commit, Path(folder))
        await add_layer(
            engine,
            parent=dependencies,
            tag=tag,
            kind="repository",
            script=environment_script(*_SCRIPTS),
            files=files,
            settings={
                **({"SETUPTOOLS_SCM_PRETEND_VERSION": version, "PBR_VERSION": version} if version else {}),
                **environment.env,
                **newest(environment),
                "COMMIT": commit,
                "PREPARE": environment.prepare,
                "INSTALL": environment.install,
                "SECONDS_OF_ALL": str(TIME),
            },
            network=True,
            env={**environment.env, "PATH": VENV_PATH, "VIRTUAL_ENV": VENV},
            workdir=WORKDIR,
            timeout=timeout,
            report=report,
        )
    return tag


def _write_tar(mirror: Path, commit: str, folder: Path) -> Path:
    pack, index = mirrors.write_pack(mirror, commit, folder)
    target = folder / "history.tar"
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in (pack, index):
            info = tar.gettarinfo(path, f"{WORKDIR[1:]}/.git/objects/pack/{path.name}")
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mode, info.mtime = 0o444, TIME
            with path.open("rb") as file:
                tar.addfile(info, file)
            path.unlink()
    return target


def repository_tag(dependencies: str, environment: Environment) -> str:
    """The tag of a repository's image on top of its dependencies' one."""
    parts = [environment.source, environment.commit, environment.prepare, environment.install, environment.env]
    key = digest([dependencies, parts, environment_script(*_SCRIPTS)])
    name = environment.source.removesuffix(".git").rstrip("/").rpartition("/")[2]
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{name}-{environment.commit[:12]}").lstrip(".-")[:80]
    return f"forager/repository:{plain}-{key[:16]}"
