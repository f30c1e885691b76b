"""What a bootstrap takes from the host: its Debian mirrors, its proxies, its rights."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

MIRROR = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"

_KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")


def keyring() -> Path | None:
    """The keys that sign Debian's archive, if this host has them."""
    return next((Path(path) for path in _KEYRINGS if Path(path).is_file()), None)


def sources(suite: str, etc: Path = Path("/etc/apt")) -> str:
    """The `sources.list` of a suite, over the mirrors in the host's own apt sources; over Debian's where the host
    names none (Ubuntu, for one)."""
    mirrors = _mirrors(etc)
    main = next((uri for uri in mirrors if _last(uri) == "debian"), None)
    security = next((uri for uri in mirrors if _last(uri) == "debian-security"), None)
    if main is None:
        main, security = MIRROR, security or SECURITY
    lines = [f"deb {main} {suite} main", f"deb {main} {suite}-updates main"]
    if security:  # a host with a mirror of its own and none for security most likely cannot reach another
        lines.append(f"deb {security} {suite}-security main")
    return "\n".join(lines) + "\n"


def _mirrors(etc: Path) -> list[str]:
    """The http(s) addresses in apt's source files, of both formats, in order; disabled ones left out."""
    uris: list[str] = []
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        text = re.sub(r"^\s*#.*\n?", "", text, flags=re.MULTILINE)
        if path.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", text):
                if re.search(r"^Enabled:\s*no\b", stanza, re.MULTILINE | re.IGNORECASE):
                    continue
                for field in re.findall(r"^URIs:(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE | re.IGNORECASE):
                    uris += field.split()
        elif path.suffix == ".list":
            uris += re.findall(r"^\s*deb\s+(?:\[[^\]]*\]\s*)?(\S+)", text, re.MULTILINE)
    return [uri for uri in uris if urlsplit(uri).scheme in ("http", "https")]


def _last(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]


def proxy_options() -> list[str]:
    """The host's apt proxy settings, as mmdebstrap options."""
    options = []
    for name in ("Acquire::http::Proxy", "Acquire::https::Proxy"):
        if value := _output("apt-config", "shell", "v", f"{name}"):
            quoted = value.removeprefix("v=").strip().strip("'")
            options.append(f'--aptopt={name} "{quoted}"')
    return options


def has_subuids() -> bool:
    """Whether this user owns a range of user ids, so that mmdebstrap can work in a user namespace."""
    try:
        lines = Path("/etc/subuid").read_text().splitlines()
        return any(line.startswith((f"{getpass.getuser()}:", f"{os.getuid()}:")) for line in lines)
    except (OSError, KeyError):
        return False


def sudo_works() -> bool:
    """Whether sudo answers without a password."""
    return bool(shutil.which("sudo")) and _output("sudo", "-n", "id", "-u") == "0"


def _output(*command: str) -> str:
    """What a short command prints; empty if it cannot run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
