"""Is this machine fit? One check a line, each with what to do where it is not."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pypi_simple
import requests
from rich.table import Table
from rich.text import Text

from forager.errors import ForagerError
from forager.images.base import base_tag, bootstrap_advice, registry_answers
from forager.images.build import image_exists
from forager.images.index import ca_bundle, index_url
from forager.records import Record
from forager.sandbox.engine import Engine
from forager.sandbox.labels import EXPIRES, OWNER, is_dead

GB = 1000**3

State = Literal["ok", "warn", "fail"]


class Check(Record, frozen=True, omit_defaults=False):
    """One thing looked at."""

    name: str
    state: State
    found: str
    """What is there."""
    advice: str = ""
    """What to do; empty if nothing."""


def fit(checks: Iterable[Check]) -> bool:
    """Whether Forager can work here: nothing failed (a warning is no failure)."""
    return all(check.state != "fail" for check in checks)


async def doctor() -> list[Check]:
    """Look at everything Forager needs of this machine. Changes nothing, raises nothing, takes seconds."""
    checks = [_python(), _git()]
    try:
        with Engine.connect(timeout=15) as engine:
            info: dict[str, Any] = await engine.call(engine.client.info)
            checks += [_engine(info), _storage(info), _limits(info), _engine_disk(engine, info)]
            checks += [await _base(engine), await _left_over(engine)]
    except ForagerError as error:
        message, _, advice = str(error).partition("; ")
        name = "base image" if len(checks) > 2 else "docker engine"
        checks.append(Check(name=name, state="fail", found=message, advice=advice))
    return [*checks, _disk("disk here", Path.cwd(), warn=2 * GB, fail=GB // 5), await asyncio.to_thread(_index)]


def render_doctor(checks: Iterable[Check]) -> Table:
    """The checks as a table for a terminal."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    for check in checks:
        text = Text(check.found + (f"\n{check.advice}" if check.advice else ""))
        table.add_row(Text(check.state, style=colours[check.state]), check.name, text)
    return table


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    return Check(name="python", state="ok", found=found)  # an older one cannot import this file


def _git() -> Check:
    if path := shutil.which("git"):
        return Check(name="git", state="ok", found=path)
    return Check(name="git", state="fail", found="not installed", advice="`sudo apt-get install git`")


def _engine(info: dict[str, Any]) -> Check:
    found = f"{info['ServerVersion']} on {info.get('OperatingSystem', '?')}, {info['NCPU']} CPUs, "
    found += f"{info['MemTotal'] / GB:.0f} GB of memory"
    if info.get("OSType") != "linux":
        return Check(name="docker engine", state="fail", found=found, advice="Forager needs Linux containers")
    return Check(name="docker engine", state="ok", found=found)


def _storage(info: dict[str, Any]) -> Check:
    driver = str(info["Driver"])
    if driver == "vfs":
        advice = "each container copies its whole image: slow and large; put the engine's data on ext4 or xfs"
        return Check(name="storage driver", state="warn", found=driver, advice=advice)
    return Check(name="storage driver", state="ok", found=driver)


def _limits(info: dict[str, Any]) -> Check:
    """Whether the kernel lets the engine limit a container: without, one hostile command takes the host with it."""
    kinds = {"memory": "MemoryLimit", "swap": "SwapLimit", "cpu": "CpuCfsQuota", "processes": "PidsLimit"}
    missing = [kind for kind, key in kinds.items() if not info.get(key)]
    found = f"cgroup v{info.get('CgroupVersion', '1')} ({info.get('CgroupDriver', '?')})"
    if not missing:
        return Check(name="limits", state="ok", found=f"{found}: {', '.join(kinds)}")
    advice = "mount cgroups with these controllers (`systemd`, or `mount -t cgroup2 none /sys/fs/cgroup`)"
    state: State = "warn" if missing == ["swap"] else "fail"
    if state == "warn":
        advice = "a container may swap beyond its memory limit; add `swapaccount=1` to the kernel's command line"
    return Check(name="limits", state=state, found=f"{found}: no limit on {', '.join(missing)}", advice=advice)


def _engine_disk(engine: Engine, info: dict[str, Any]) -> Check:
    root = Path(str(info["DockerRootDir"]))
    here = str(engine.api.base_url).startswith("http+docker://local") and root.exists()
    if not here:
        return Check(name="engine's disk", state="ok", found="not on this machine: not looked at")
    return _disk("engine's disk", root, warn=10 * GB, fail=2 * GB)


def _disk(name: str, path: Path, *, warn: int, fail: int) -> Check:
    """Free space for this user at `path`; `warn` and `fail` in bytes."""
    try:
        free = shutil.disk_usage(path).free
    except OSError as error:
        return Check(name=name, state="warn", found=f"cannot look at {path}: {error.strerror}")
    state: State = "fail" if free < fail else "warn" if free < warn else "ok"
    advice = "" if state == "ok" else "free some: `forager images prune`, `docker system prune`"
    return Check(name=name, state=state, found=f"{free / GB:.1f} GB free at {path}", advice=advice)


async def _base(engine: Engine) -> Check:
    tag = base_tag()
    if await image_exists(engine, tag):
        return Check(name="base image", state="ok", found=tag)
    if await registry_answers(engine):
        return Check(name="base image", state="ok", found="made at first use, from a registry")
    if advice := bootstrap_advice():
        found = "not there yet, and no registry answers"
        return Check(name="base image", state="fail", found=found, advice=f"to bootstrap it from packages: {advice}")
    return Check(name="base image", state="ok", found="made at first use, from Debian packages")


async def _left_over(engine: Engine) -> Check:
    """Containers of owners that are gone; those of runs under way are none of our business."""
    found = await engine.call(engine.api.containers, all=True, filters={"label": OWNER})
    dead = [c for c in found if is_dead(c["Labels"][OWNER], c["Labels"].get(EXPIRES, ""))]
    if dead:
        text = f"{len(dead)} left behind by runs that are gone"
        return Check(name="containers", state="warn", found=text, advice="`forager clean`")
    return Check(name="containers", state="ok", found=f"{len(found)} in use, none left behind")


def _index() -> Check:
    """Whether the package index answers; only `forager forage` and the building of images need it."""
    name = "package index"
    try:
        url = index_url()
        host = urlsplit(url).hostname or "?"
        started = time.monotonic()
        with requests.get(
            f"{url.rstrip('/')}/pip/",
            timeout=5,
            stream=True,
            verify=ca_bundle() or True,
            headers={"Accept": pypi_simple.ACCEPT_ANY},
        ) as response:
            response.raise_for_status()
        return Check(name=name, state="ok", found=f"{host} answers in {time.monotonic() - started:.1f} s")
    except ForagerError as error:
        return Check(name=name, state="warn", found=str(error))
    except requests.exceptions.RequestException as error:
        advice = "making tasks needs it: check the network, HTTPS_PROXY, PIP_INDEX_URL"
        answer = getattr(error.response, "status_code", type(error).__name__)
        return Check(name=name, state="warn", found=f"{host} does not answer ({answer})", advice=advice)
