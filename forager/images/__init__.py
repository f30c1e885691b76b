"""Images: base (system, language), environment (dependencies, repository), task (the bug, sealed)."""

from __future__ import annotations

from pathlib import Path


def images_dir() -> Path:
    """The Dockerfiles and bootstrap files: `images/` of the checkout, or `forager/_images` in a wheel."""
    packaged = Path(__file__).parents[1] / "_images"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "images"
