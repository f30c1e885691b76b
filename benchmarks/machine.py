"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from forager.sandbox.engine import Engine

PACKAGES = ("forager", "docker", "openai", "msgspec", "rich", "typer", "tenacity")


async def facts(engine: Engine) -> dict[str, Any]:
    """Machine, engine, versions, date; how busy the machine was before."""
    info = await engine.call(engine.api.info)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(info.get("MemTotal", 0) / 1e9, 1),
        "kernel": platform.release(),
        "system": info.get("OperatingSystem", ""),
        "engine": info.get("ServerVersion", ""),
        "storage_driver": info.get("Driver", ""),
        "cgroups": info.get("CgroupVersion", ""),
        "runtime": info.get("DefaultRuntime", ""),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        return platform.processor()
    return found[1] if found else platform.processor()
