"""The target of the attacks: one image for the whole session."""

from tests.evaluate.conftest import calc

__all__ = ["calc"]
