"""Forager sends a model into real repositories, in Docker, and brings back everything that happened."""

__version__ = "0.1.0"
