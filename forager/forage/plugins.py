"""Plugins of pytest that its options and settings give away."""

from __future__ import annotations

import re

_OPTIONS = {
    r"--cov\b|--no-cov|--cov-": "pytest-cov",
    r"(^|\s)-n[\s=]?(auto|\d)|--numprocesses|--dist\b|--max-worker-restart": "pytest-xdist",
    r"--benchmark": "pytest-benchmark",
    r"--timeout|(^|\n)timeout\s*=": "pytest-timeout",
    r"asyncio_mode|asyncio_default_": "pytest-asyncio",
    r"--reruns": "pytest-rerunfailures",
    r"--random-order": "pytest-random-order",
    r"--randomly|(^|\s)-p\s*no:randomly": "pytest-randomly",
    r"--doctest-plus|doctest_plus": "pytest-doctestplus",
    r"--snapshot|--inline-snapshot": "syrupy",
    r"--mypy\b": "pytest-mypy",
    r"--hypothesis": "hypothesis",
    r"--strict-docs|DJANGO_SETTINGS_MODULE|--ds=": "pytest-django",
}
"""Options and settings of pytest that a plugin brings."""


def plugins_for(text: str) -> list[str]:
    """The distributions that bring what a command line or a configuration (`key =`) uses."""
    return [plugin for pattern, plugin in _OPTIONS.items() if re.search(pattern, text)]
