"""Published images: pulled through the engine where a registry answers, and asked for a few seconds only."""

from __future__ import annotations

from forager.errors import BuildError, ForagerError, UnfitError, UsageError
from forager.images.base import registry_answers
from forager.images.build import Report, image_exists
from forager.images.lock import only_one
from forager.records import Task
from forager.sandbox.engine import Engine

CONDA = "/opt/miniconda3/envs/testbed/bin"
"""Where SWE-bench's own images keep the Python of the repository; nothing puts it on `PATH` but a login shell."""


def image_name(template: str, task: Task) -> str:
    """The name a template gives to a task's image: `{id}` is the instance id in lower case, `__` as `_1776_` (image
    names may not hold the former, and SWE-bench's published ones use the latter), `{repo}` the repository's name.

    Raises `UsageError` for a template with another field.
    """
    repo = task.repo.lower().replace("/", "__")
    try:
        return template.format(id=task.instance_id.lower().replace("__", "_1776_"), repo=repo)
    except (KeyError, IndexError, ValueError):
        raise UsageError(f"image template {template!r}: the fields are {{id}} and {{repo}}") from None


async def ensure_published(engine: Engine, name: str, report: Report | None = None) -> str:
    """The name of an image that the engine has, or has pulled now. Raises `BuildError` when it cannot be had."""
    if await has_published(engine, name, report):
        return name
    raise BuildError(f"the engine has no image {name!r}, and no registry gives it; get it with `docker pull {name}`")


async def has_published(engine: Engine, name: str, report: Report | None = None) -> bool:
    """Whether the engine has the image, or can pull it now. One probe a process tells whether a registry answers."""
    if await image_exists(engine, name):
        return True
    if not await registry_answers(engine):
        return False
    async with only_one(f"image-{name}"):
        if await image_exists(engine, name):
            return True
        if report:
            report(f"pulling {name}")
        try:
            repository, tag = _parts(name)
            await engine.call(engine.api.pull, repository, tag)
        except UnfitError:
            raise
        except ForagerError:
            return False
    return await image_exists(engine, name)


async def run_path(engine: Engine, name: str) -> str:
    """The `PATH` that a published image needs beside its own; empty if it is right as it is."""
    if "sweb.eval" not in name:
        return ""
    config = (await engine.call(engine.api.inspect_image, name)).get("Config") or {}
    own = next((value[5:] for value in config.get("Env") or () if value.startswith("PATH=")), "/usr/bin:/bin")
    return f"{CONDA}:{own}"


def _parts(name: str) -> tuple[str, str]:
    """Repository and tag; without a tag the engine would pull all there are."""
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, "latest")
