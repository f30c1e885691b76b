"""Unified diffs of single files, in the form that `git apply` and `patch` take."""

from __future__ import annotations

import difflib


def unified(path: str, before: bytes, after: bytes) -> str:
    """The diff of one text file (UTF-8), `path` relative to the repository's root. Line ends are kept."""
    old, new = (_lines(content.decode()) for content in (before, after))
    body = difflib.unified_diff(old, new, f"a/{path}", f"b/{path}")
    text = "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in body)
    return f"diff --git a/{path} b/{path}\n{text}" if text else ""


def changed_lines(diff: str) -> tuple[list[str], list[str]]:
    """The lines a diff takes out and puts in, without their mark."""
    lines = [line for line in diff.split("\n") if not line.startswith(("---", "+++"))]
    return [line[1:] for line in lines if line.startswith("-")], [line[1:] for line in lines if line.startswith("+")]


def _lines(text: str) -> list[str]:
    """Split at line feeds only: `str.splitlines` also splits at form feeds and others, which git does not."""
    parts = text.split("\n")
    lines = [part + "\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines
