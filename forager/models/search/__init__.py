"""The embedded default model: it repairs programs by search, played through the same four tools."""

from forager.models.search.model import SearchModel

__all__ = ["SearchModel"]
