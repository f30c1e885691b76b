"""The control shell: the container's main process, a bash that only the harness talks to.

It is process 1 of its namespace, so nothing inside can kill it, and it ends when its stdin closes, so the
container is gone as soon as its owner is. What must work when the process table is full (looking at processes,
killing them) uses builtins only. Everything it prints is parsed as hostile: the container belongs to the agent.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from forager.errors import CapExceeded, SandboxError
from forager.sandbox.stream import Stream

REPLY_LIMIT = 1024**2
"""Bytes of an answer, unless more is asked for. What an agent writes in its place must not fill the host's memory."""

COMMAND = ["bash", "--noprofile", "--norc", "-c", "while IFS= read -r -d '' request; do eval \"$request\"; done"]
"""What the container runs: a loop over requests. Short, because whoever looks at the processes sees it."""

PROGRAM = r"""
exec 2>/dev/null
LC_ALL=C
agent=0        # the agent's shell
declare -A ours  # the harness's own processes: the agent's shell, holders of its output

# processes: fill `parent` and `began` (start time: a process id alone may be used again) for all that run
processes() {
  local directory line pid rest
  parent=() began=()
  for directory in /proc/[0-9]*; do
    line=
    IFS= read -r -d '' line <"$directory/stat"
    pid=${directory#/proc/} rest=${line##*) }
    set -f; set -- $rest; set +f
    if [[ -z $rest || $1 == [ZX] ]]; then continue; fi
    parent[pid]=$2 began[pid]=${20}
  done
}

# held PIPE: whether a process that is not ours has PIPE (a path) open
held() {
  local pid file
  for pid in "${!parent[@]}"; do
    if [[ $pid == 1 || ${ours[$pid]} ]]; then continue; fi
    for file in "/proc/$pid/fd/"*; do
      if [[ $file -ef $1 ]]; then return 0; fi
    done
  done
  return 1
}

# free_output HOLDER...: the first holder whose stdout nobody else has open, or nothing
free_output() {
  local -a parent began
  processes
  for pid; do
    if [[ -e /proc/$pid/fd/1 ]] && ! held "/proc/$pid/fd/1"; then echo "$pid"; break; fi
  done
}

# alone: whether the engine's count says that nothing but this shell and our own processes is there. Looking at every
# process takes twice as long as the rest of a survey, and usually there is none to look at.
alone() {
  local count pid
  read -r count </sys/fs/cgroup/pids/pids.current || read -r count </sys/fs/cgroup/pids.current || return
  if ((count != ${#ours[@]} + 1)); then return 1; fi
  for pid in "${!ours[@]}"; do
    if [[ ! -e /proc/$pid ]]; then return 1; fi
  done
}

# survey: how many processes the memory cap killed; whether a survivor holds the agent's output; the survivors
survey() {
  local line kills=0 held=0 pid list=
  local -a parent began
  while read -r line; do
    if [[ $line == 'oom_kill '* ]]; then kills=${line#* }; fi
  done </sys/fs/cgroup/memory/memory.oom_control || while read -r line; do
    if [[ $line == 'oom_kill '* ]]; then kills=${line#* }; fi
  done </sys/fs/cgroup/memory.events
  if alone; then echo "$kills 0"; return; fi
  processes
  for pid in "${!parent[@]}"; do
    if [[ $pid == 1 || ${ours[$pid]} ]]; then continue; fi
    list+=" $pid:${began[pid]}"
  done
  if [[ -n $list ]] && held "/proc/$agent/fd/99"; then held=1; fi
  echo "$kills $held$list"
}

# slay BEFORE...: kill what runs now, did not run before (pid:start) and does not descend from it; then break the
# agent's shell out of whatever it is doing. Everything is stopped first, so that a fork bomb can't outrun the scan.
slay() {
  local before=" $* " pid ancestor round victims killed=0
  local -a parent began
  kill -STOP -1
  kill -40 "$agent"
  for ((round = 0; round < 100; round++)); do
    processes
    victims=
    for pid in "${!parent[@]}"; do
      if [[ $pid == 1 || ${ours[$pid]} ]]; then continue; fi
      ancestor=$pid
      while [[ -n $ancestor && $before != *" $ancestor:${began[ancestor]} "* ]]; do
        if ((ancestor <= 1 || ancestor == agent)); then ancestor=; else ancestor=${parent[ancestor]-}; fi
      done
      if [[ -z $ancestor ]]; then victims+=" $pid"; fi
    done
    if [[ -z $victims ]]; then break; fi
    for pid in $victims; do ((killed++)); done
    kill -KILL $victims
  done
  kill -CONT -1
  echo "$killed"
}

# bring FILE SIZE: print at most SIZE bytes of a file. A small one without a NUL byte, which is nearly every file
# that an agent edits, is read by the shell itself, which takes a tenth of starting a program, and kept for `splice`.
bring() {
  kept= kept_from=
  if IFS= read -r -d '' -n 65537 kept <"$1"; then kept=; head -c "$2" -- "$1"; return; fi
  kept_from=$1
  printf %s "$kept"
}

# splice FILE START END TEXT: write FILE as it was brought, with TEXT for the bytes from START up to END
splice() {
  [[ $kept_from == "$1" ]] && kept_from= || return 77
  printf %s%s%s "${kept:0:$2}" "$4" "${kept:$3}" >"$1"
}

# drain TOKEN: read on until the line that ends a payload, whatever of it was left unread
drain() { local line; until IFS= read -r line && [[ $line == "$1" ]]; do :; done; }
"""


@dataclass(frozen=True)
class Survey:
    """What lives in the container between two commands."""

    memory_kills: int
    """Processes the memory cap has killed so far."""
    output_held: bool
    """Whether a survivor can still write to the agent's output."""
    survivors: tuple[str, ...]
    """`pid:start` of every process but the harness's and the agent's shell."""


class Control:
    """Requests to the control shell, one at a time.

    Any method raises `SandboxError` when it is gone or silent, and `CapExceeded` when an answer is not one: only what
    runs in the container can have done that.
    """

    def __init__(self, stream: Stream, name: str) -> None:
        self.lost = asyncio.Event()
        self._name = name
        self._stream = stream
        self._lock = asyncio.Lock()
        self._reply: asyncio.Future[None] | None = None
        self._received = bytearray()
        self._begin = self._token = b""
        self._limit = REPLY_LIMIT
        stream.sink = self._sink
        stream.lost = self._on_lost
        stream.write(PROGRAM.encode() + b"\0")

    async def ask(
        self, script: str, *, payload: bytes = b"", timeout: float = 60.0, limit: int = REPLY_LIMIT
    ) -> tuple[int, bytes]:
        """Evaluate `script` in the control shell itself: its exit status and what it printed, `limit` bytes at most.

        `payload` is there on stdin for the script; what it leaves unread is dropped. `timeout` in seconds.
        """
        async with self._lock:
            if self.lost.is_set():
                raise SandboxError(f"container {self._name} is gone")
            begin, token = secrets.token_hex(16), secrets.token_hex(16)
            # The answer to a request that was given up may still come first: what counts begins with a token too.
            self._begin = begin.encode() + b"\n"
            self._token = b"\n" + token.encode() + b" "
            self._limit = limit + 1024
            self._received = bytearray()
            self._reply = asyncio.get_running_loop().create_future()
            after = f"drain {token}; " if payload else ""
            request = f"echo {begin}; {{ {script}\n}}; status=$?; {after}printf '\\n%s %d\\n' {token} $status"
            self._stream.write(request.encode("utf-8", "surrogateescape") + b"\0")
            if payload:
                self._stream.write(payload + b"\n" + token.encode() + b"\n")
            try:
                async with asyncio.timeout(timeout):
                    await self._reply
            except TimeoutError:
                self._on_lost()  # what comes later would be taken for the next answer
                raise SandboxError(f"container {self._name}: the control shell did not answer") from None
            received, self._received = self._received, bytearray()
            start, end = received.find(self._begin), received.find(self._token)
            status = bytes(received[end + len(self._token) :])
            if not 0 <= start < end or not status.strip().isdigit():
                raise self._spoilt()
            return int(status), bytes(received[start + len(self._begin) : end])

    def _spoilt(self) -> CapExceeded:
        """The error for an answer that something else wrote into; nothing is asked after it."""
        error = CapExceeded("control", "something in the container wrote into the harness's own channel")
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)
        self._on_lost()
        return error

    async def survey(self) -> Survey:
        """Who is left in the container, and whether the memory cap has killed."""
        _, output = await self.ask("survey")
        kills, held, *survivors = output.decode("ascii", "replace").split() or ("", "")
        if not kills.isdigit():
            raise self._spoilt()
        return Survey(int(kills), held == "1", tuple(survivors))

    async def free_output(self, holders: Iterable[int]) -> int | None:
        """The first of some holders of output pipes whose pipe no process of the agent has open."""
        _, output = await self.ask(f"free_output {' '.join(map(str, holders))}")
        return int(output) if output.strip().isdigit() else None

    async def adopt(self, shell: int, *others: int) -> None:
        """Say which process is the agent's shell now, and which others are the harness's."""
        owned = " ".join(f"[{pid}]=1" for pid in (shell, *others))
        await self.ask(f"agent={shell}; ours+=({owned})")

    async def slay(self, before: tuple[str, ...]) -> int:
        """Kill what a command started, given the survivors `before` it; interrupt the agent's shell."""
        _, output = await self.ask(f"slay {' '.join(before)}")
        if not output.strip().isdigit():
            raise self._spoilt()
        return int(output)

    def close(self) -> None:
        self._stream.close()
        self._on_lost()

    def _sink(self, data: bytes) -> None:
        if self._reply is None or self._reply.done():
            return
        start = max(0, len(self._received) - len(self._token))
        self._received += data
        if len(self._received) > self._limit:
            self._received = bytearray()
            self._spoilt()
            return
        end = self._received.find(self._token, start)
        if end >= 0 and self._received.endswith(b"\n", end + len(self._token)):
            self._reply.set_result(None)

    def _on_lost(self) -> None:
        self.lost.set()
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(SandboxError(f"container {self._name} died"))


def quote(text: str) -> str:
    """`text` as one word of bash, whatever is in it. NUL can't be in a word and is left out."""
    return "'" + text.replace("\0", "").replace("'", "'\\''") + "'"
