"""The host's mirrors, read from both formats of apt's source files."""

from __future__ import annotations

from pathlib import Path

import pytest

from forager.images.debian import MIRROR, SECURITY, sources


def etc(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


DEB822 = """Types: deb
# http://snapshot.debian.org/archive/debian/20250520T000000Z
URIs: http://mirror.example/debian
Suites: trixie trixie-updates
Components: main

Types: deb
URIs: http://mirror.example/debian-security/
Suites: trixie-security
Components: main
"""


def test_stanzas(tmp_path: Path) -> None:
    apt = etc(
        tmp_path, {"sources.list.d/debian.sources": DEB822, "sources.list.d/x.sources": "URIs: http://x.example/x"}
    )
    assert sources("bookworm", apt).splitlines() == [
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian bookworm-updates main",
        "deb http://mirror.example/debian-security/ bookworm-security main",
    ]


def test_one_line_entries_and_a_mirror_without_security(tmp_path: Path) -> None:
    text = "# deb http://old.example/debian x main\n"
    text += "deb [arch=amd64 signed-by=/k.gpg] https://in.house/debian trixie main\n"
    apt = etc(tmp_path, {"sources.list": "", "sources.list.d/a.list": text})
    assert sources("bookworm", apt) == (
        "deb https://in.house/debian bookworm main\ndeb https://in.house/debian bookworm-updates main\n"
    )


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"sources.list": "deb http://archive.ubuntu.com/ubuntu noble main universe\n"},
        {"sources.list": "deb file:/srv/debian bookworm main\n"},
        {"sources.list.d/debian.sources": DEB822.replace("Types: deb\n", "Types: deb\nEnabled: no\n")},
    ],
    ids=["nothing", "ubuntu", "file", "disabled"],
)
def test_a_host_without_a_debian_mirror_gets_debians_own(tmp_path: Path, files: dict[str, str]) -> None:
    lines = sources("bookworm", etc(tmp_path, files)).splitlines()
    assert lines[0] == f"deb {MIRROR} bookworm main"
    assert lines[-1] == f"deb {SECURITY} bookworm-security main"
