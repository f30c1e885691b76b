"""Files that are not code but come with the package: of the checkout, or of an installed wheel."""

from __future__ import annotations

from pathlib import Path


def folder(name: str) -> Path:
    """`images` or `tasks`: the folder of the checkout, or its copy in the wheel (`_images`, `_tasks`)."""
    package = Path(__file__).parent
    copy = package / f"_{name}"
    return copy if copy.is_dir() else package.parent / name
