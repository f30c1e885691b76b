"""git on the host, as plumbing over object stores of ours: nothing of a repository's own can run or decide anything.

A repository that somebody else made is data. Its configuration, hooks, attributes, submodules, replacement objects
and remotes are never read: git is started in a directory that Forager made, with the user's and the system's settings
out, over the other one's objects only. Nothing is ever checked out on the host.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from forager.errors import ForageError, UnfitError, UsageError
from forager.images.index import ca_bundle, public_url

TRANSPORTS = "https:http:ssh:git"
"""What a repository may be fetched over. Not `file` (a local clone is never talked to, only its objects are read),
and not `ext` (which runs a command)."""

_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.alternateRefsCommand": "true",
    "core.askPass": "true",
    "credential.helper": "",
    "protocol.allow": "never",
    **{f"protocol.{name}.allow": "always" for name in TRANSPORTS.split(":")},
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "safe.directory": "*",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "pack.threads": "2",
}


class Git:
    """git's plumbing in one bare repository that Forager made, through GitPython."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, *arguments: str, stdin: bytes = b"", seconds: float = 600.0) -> bytes:
        """Run `git ARGUMENTS`; its output. Raises `ForageError` with git's own line, `UnfitError` without git."""
        status, output, said = self.run(*arguments, stdin=stdin, seconds=seconds)
        if status != 0:
            raise ForageError(f"git {arguments[0]}: {telling(said)}")
        return output

    def run(self, *arguments: str, stdin: bytes = b"", seconds: float = 600.0) -> tuple[int, bytes, str]:
        """Run `git ARGUMENTS`; its exit status, output and messages. `seconds` bounds it."""
        import tempfile

        import git

        with tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            try:
                status, output, said = git.cmd.Git(str(self.path)).execute(
                    ["git", *arguments],
                    istream=given,
                    env=environment(self.path),
                    with_extended_output=True,
                    with_exceptions=False,
                    stdout_as_string=False,
                    strip_newline_in_stdout=False,
                    kill_after_timeout=seconds,
                )
            except git.exc.GitCommandNotFound:
                raise UnfitError("git is not installed; install it (`sudo apt-get install git`)") from None
        return int(status or 0), _bytes(output), _bytes(said).decode("utf-8", "replace")


def environment(path: Path) -> dict[str, str]:
    """What git is told, whatever this process's own environment says."""
    bundle = ca_bundle()
    settings = {**_SETTINGS, **({"http.sslCAInfo": bundle} if bundle else {})}
    return {
        "GIT_DIR": str(path),
        "GIT_OBJECT_DIRECTORY": str(path / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
        "GIT_COMMON_DIR": str(path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_PARAMETERS": "",
        "GIT_CONFIG_COUNT": str(len(settings)),
        **{f"GIT_CONFIG_KEY_{n}": key for n, key in enumerate(settings)},
        **{f"GIT_CONFIG_VALUE_{n}": value for n, value in enumerate(settings.values())},
        "GIT_ALLOW_PROTOCOL": TRANSPORTS,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "SSH_ASKPASS": "true",
        "GIT_TEMPLATE_DIR": "",
        "LC_ALL": "C",
    }


def make_bare(path: Path) -> Git:
    """A new, empty bare repository, with no hook in it."""
    path.mkdir(parents=True)
    git = Git(path)
    git("init", "--quiet", "--bare", "--template=", str(path))
    return git


def check_address(source: str) -> None:
    """Raise `UsageError` for an address that git would take for an option, or whose transport is not allowed."""
    scheme, separator, _ = source.partition("://")
    if source.startswith("-") or "::" in source or any(ord(char) < 33 for char in source):
        raise UsageError(f"{public_url(source)!r} is not the address of a repository")
    if separator and scheme not in TRANSPORTS.split(":"):
        raise UsageError(f"repositories are not fetched over {scheme}://; use https://, or a local clone")


def telling(said: str) -> str:
    """The line of git's messages that says why."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    strong = [line for line in lines if line.startswith(("fatal:", "error:", "remote: error", "ssh:"))]
    return (strong or lines or ["it failed without a word"])[0].removeprefix("fatal: ")[:300]


def _bytes(output: Any) -> bytes:
    return output if isinstance(output, bytes) else str(output or "").encode("utf-8", "surrogateescape")
