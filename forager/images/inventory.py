"""What images Forager has on this engine: their sizes, and how they go away."""

from __future__ import annotations

import re
from collections.abc import Sequence

from forager.errors import SandboxError, UsageError
from forager.images.layer import LABEL
from forager.images.task import prune_task_images
from forager.records import Record
from forager.sandbox.engine import Engine

KINDS = ("base", "tools", "python", "environment", "repository", "coverage", "compiled", "task")
"""From the ground up: each is built on one of those before it."""


class ImageInfo(Record, frozen=True, omit_defaults=False):
    """One image. Sizes in bytes."""

    kind: str
    tags: tuple[str, ...]
    id: str
    created: int
    """Unix time, seconds."""
    size: int
    """With everything it is built on."""
    own: int
    """Of its own layer: what removing it frees."""

    @property
    def shared(self) -> int:
        return self.size - self.own


async def list_images(engine: Engine) -> list[ImageInfo]:
    """Forager's images, those at the bottom first, older ones before newer ones."""
    images = await engine.call(engine.api.images, all=True)
    sizes = {str(image["Id"]): int(image.get("Size") or 0) for image in images}
    found = []
    for image in images:
        kind = str((image.get("Labels") or {}).get(LABEL) or "")
        tags = tuple(str(tag) for tag in image.get("RepoTags") or () if tag != "<none>:<none>")
        if not kind or not tags:
            continue
        size = int(image.get("Size") or 0)
        parent = str(image.get("ParentId") or "")
        own = max(0, size - sizes[parent]) if parent in sizes else size
        found.append(
            ImageInfo(kind=kind, tags=tags, id=str(image["Id"]), created=int(image["Created"]), size=size, own=own)
        )
    return sorted(found, key=lambda image: (_rank(image.kind), image.created, image.tags))


async def remove_images(engine: Engine, names: Sequence[str]) -> list[str]:
    """Remove images by tag, by the start of their id, or all of a kind; the tags that went.

    Raises `UsageError` for a name that is no image of Forager's, and for one that something else is built on or a
    container uses.
    """
    known = await list_images(engine)
    wanted: dict[str, ImageInfo] = {}
    for name in names:
        found = [image for image in known if _means(name, image)]
        if not found:
            raise UsageError(f"{name!r} is no image of Forager's; `forager images list` shows them")
        wanted |= {image.id: image for image in found}
    gone: list[str] = []
    for image in sorted(wanted.values(), key=lambda image: (-_rank(image.kind), -image.created)):
        for tag in image.tags:
            if problem := await _remove(engine, tag):
                raise UsageError(f"{tag} is not removed: {problem}")
            gone.append(tag)
    return gone


async def prune_images(engine: Engine, *, everything: bool = False) -> list[str]:
    """Remove task images that no container uses; with `everything`, all images of Forager's that nothing uses. The
    tags that went. All of them are made again when they are needed."""
    gone = await prune_task_images(engine)
    if everything:
        for image in reversed(await list_images(engine)):
            gone += [tag for tag in image.tags if not await _remove(engine, tag)]
    return gone


async def _remove(engine: Engine, tag: str) -> str:
    """Remove a tag; what keeps it, if something does."""
    try:
        await engine.call(engine.api.remove_image, tag)
    except SandboxError as error:
        if error.engine_status == 404:
            return ""
        if error.engine_status != 409:
            raise
        return "another image is built on it" if "child" in str(error) else "a container uses it"
    return ""


def _means(name: str, image: ImageInfo) -> bool:
    short = image.id.removeprefix("sha256:")
    by_id = re.fullmatch(r"[0-9a-f]{6,64}", name.removeprefix("sha256:"))
    return (
        name == image.kind
        or name in image.tags
        or any(tag == f"forager/{name}" for tag in image.tags)
        or bool(by_id and short.startswith(name.removeprefix("sha256:")))
    )


def _rank(kind: str) -> int:
    return KINDS.index(kind) if kind in KINDS else len(KINDS)
