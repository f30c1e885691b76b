"""Images: base (system, language), environment (dependencies, repository), task (the bug, sealed)."""

from __future__ import annotations

from pathlib import Path

from forager.packaged import folder


def images_dir() -> Path:
    """The Dockerfiles and bootstrap files: `images/` of the checkout, or `forager/_images` in a wheel."""
    return folder("images")
