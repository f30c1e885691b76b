"""The write-ahead log of an attempt under way: every model reply and observation, as it happens.

A line is handed to the kernel before the attempt goes on, so a killed process loses nothing. Against a power cut, one
thread brings all open logs to the disk a few times a second: a slow disk never holds up the attempts.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from forager.files import LineFile, cannot_write, sync_directory
from forager.records import encode

SYNC_SECONDS = 0.1
"""At most this much of what was logged can be lost to a power cut."""


class Journal:
    """One attempt's log. Call it with an event (a JSON object); use as a context manager."""

    def __init__(self, path: Path, torn: Path, syncer: Syncer) -> None:
        self._file: LineFile | None = LineFile(path, torn, durable=False)
        self._path = path
        self._syncer = syncer
        self._lock = threading.Lock()
        self._fault: OSError | None = None
        self._named = False

    def __call__(self, event: dict[str, Any]) -> None:
        """Log one event. Raises `UnfitError` when the disk does not take it."""
        if self._file is None:
            raise ValueError(f"{self._path} is closed")
        if self._fault is not None:
            raise cannot_write(self._path, self._fault)
        self._file.append(encode(event))
        self._syncer.wanted(self)

    def sync(self) -> None:
        """Bring the log to the disk; called by the syncer's thread. A fault is raised by the next event."""
        with self._lock:
            if self._file is not None:
                try:
                    self._file.sync()
                    if not self._named:
                        sync_directory(self._path.parent)
                        self._named = True
                except OSError as error:
                    self._fault = error

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def discard(self) -> None:
        """Remove the log: its attempt has its line in trajectories.jsonl. Raises `UnfitError`."""
        self.close()
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Syncer:
    """The thread that makes the logs durable. Starts with the first event."""

    def __init__(self) -> None:
        self._waiting: set[Journal] = set()
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def wanted(self, journal: Journal) -> None:
        with self._lock:
            self._waiting.add(journal)
        self._work.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journals", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._work.wait() and not self._stop.is_set():
            self._work.clear()
            with self._lock:
                batch, self._waiting = self._waiting, set()
            for journal in batch:
                journal.sync()
            self._stop.wait(SYNC_SECONDS)

    def close(self) -> None:
        self._stop.set()
        self._work.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
