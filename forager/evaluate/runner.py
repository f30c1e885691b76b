# ruff: noqa: PTH100, PTH108, PTH109, PTH110, PTH118, PTH120, PTH123, RUF005, UP031, UP035
# Written for Python 3.6, with few imports: each is one more thing to tamper with.
"""Runs pytest inside a container and reports to a file. Standard library only; Python 3.6, pytest 4 or later.

Never imported by Forager: its text is copied next to a `job.json` in a folder of its own and run as a script. It
behaves like `python -m pytest` (or `pytest`), except that

- pytest is imported before the repository is on `sys.path`, so no `pytest.py` or `_pytest/` in it can take its place;
- the results go, as they happen, to a file that was opened before any code of the repository ran. Each line carries
  its number and a keyed digest; the key was in `job.json`, which is deleted before pytest is imported. A line added
  by code without the key is refused by the reader, and a missing last line shows a run that was cut off;
- which files run is decided after pytest has found its configuration, so that running one file finds the same root
  folder, options and node ids as running everything.

A job may also be a series of rounds (`do_rounds`): one process that has read pytest starts a child for each, and puts
other files in place between them. Rounds share their container, so grading does without them.

Code under test shares this process. Code written against this very file can walk the interpreter's objects, call the
reporter or read the key, and no file format can prevent that; what guards against it is restoring everything but the
product code before grading, and looking at patches that do such things.
"""

import hashlib
import importlib.util
import json
import os
import random
import signal
import sys
import time
import types
from json.encoder import encode_basestring_ascii
from typing import Any, Callable

TEXT_LIMIT = 4000  # characters of one failure's text
SECTIONS = 2000000  # failing tests times tests: pytest compares each with each before it prints the failures
HIGH_FD = 200  # out of the way of tests that close or duplicate low numbers
PIECE_MS = 20  # milliseconds of output that is handed on at once
LOOK_MS = 50  # milliseconds between two looks at whether the tests' process lives
REFUSED = 125  # exit code of a series that cannot be: pytest itself runs on what is tested
PIPE = 1048576  # bytes that a pipe holds at most, for users without privileges
F_SETPIPE_SZ = 1031  # fcntl has the name from Python 3.10 on


def open_report(path: str, key: bytes) -> "Callable[[str], None]":
    """A function that writes one JSON object (given as its inner text) as a numbered, authenticated line."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
    try:
        import fcntl

        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH_FD)
        os.close(descriptor)
        descriptor = high
    except (ImportError, OSError):
        pass
    # Kept here, because tests and products replace attributes of modules, for good reasons or bad ones.
    write, sha256, getpid = os.write, hashlib.sha256, os.getpid
    owner, number = getpid(), [0]

    def report(inner: str) -> None:
        if getpid() != owner:  # a fork that ran into pytest's own ending
            return
        payload = ('{"n": %d, %s}' % (number[0], inner)).encode("ascii")
        number[0] += 1
        mac = sha256(key + sha256(key + payload).digest()).hexdigest()
        line = mac.encode("ascii") + b" " + payload + b"\n"
        while line:
            line = line[write(descriptor, line) :]

    return report


def go_on_in_child() -> None:
    """Return in a child process. This one hands on what the child prints, and ends as it does.

    Pytest writes each dot by itself, and each write wakes three processes on its way out of the container. In a suite
    of short tests that takes half as long as the tests. What tests leave running can print no more after the end.
    """
    reader, writer = os.pipe()
    # What tests send to their group is not for this process.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    try:
        child = os.fork()
    except OSError:  # no more processes: then dot by dot
        child = -1
    if child > 0:
        try:
            os.close(writer)
            end_as(hand_on(reader, child))
        finally:
            os._exit(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(reader)
    if child == 0:
        os.dup2(writer, 1)
        os.dup2(writer, 2)
    os.close(writer)


def hand_on(reader: int, child: int) -> int:
    """Copy a pipe to stdout, in pieces, until a child has ended, whoever else writes; its wait status."""
    import fcntl  # these two here only: the tests' process has loaded nothing that it does without
    import select

    readable, writable, hung_up = select.poll(), select.poll(), select.poll()
    readable.register(reader, select.POLLIN)
    writable.register(1, select.POLLOUT)
    hung_up.register(reader, 0)
    pause = PIECE_MS
    try:
        fcntl.fcntl(reader, F_SETPIPE_SZ, PIPE)
    except OSError:  # this user's pipes are small: a long pause would hold up what prints much
        pause = 1
    ended, status = 0, 0
    while not ended:
        ended, status = os.waitpid(child, os.WNOHANG)
        if readable.poll(0 if ended else LOOK_MS):
            data = os.read(reader, PIPE)
            if not (data or ended):  # nobody will ever write again
                ended, status = os.waitpid(child, 0)
            while data:
                try:
                    data = data[os.write(1, data[:65536]) :]
                except BlockingIOError:  # somebody has made it so
                    writable.poll()
                except OSError:  # nobody listens; the tests need not know
                    break
        if not ended:
            hung_up.poll(pause)
    return status


def end_as(status: int) -> None:
    """End this process as the one that a wait status tells of: the shell names a fatal signal."""
    if os.WIFSIGNALED(status):
        import resource

        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os._exit(os.WEXITSTATUS(status))


def shorten(text: str) -> str:
    if len(text) <= TEXT_LIMIT:
        return text
    head = TEXT_LIMIT // 4
    return text[:head] + "\n[...]\n" + text[head + 7 - TEXT_LIMIT :]


class Reporter:
    """Pytest's plugin. Under xdist it lives in the controller only, where the workers' reports arrive."""

    def __init__(self, report: "Callable[[str], None]", job: "dict[str, Any]") -> None:
        self._report = report
        self._quote = encode_basestring_ascii
        self._files = job["files"]  # type: list[str]
        self._only = dict.fromkeys(job["only"])  # type: dict[str, None]  # in the suite's order
        self._shuffle = job["shuffle"]  # type: int | None
        self._most_failing = job["most_failing"]  # type: int
        self._session = None  # type: Any
        self._quiet = job["extras"]  # type: bool
        self._running = {}  # type: dict[str, tuple[str, Any]]
        self._seconds = {}  # type: dict[str, float]
        self._texts = job["texts"]  # type: int  # still to be kept
        self._option = None  # type: Any
        self._style = "auto"
        self._count = 0
        self._failed = 0
        self._ended = False

    def pytest_configure(self, config: Any) -> None:
        self._option = config.option
        if not self._texts:
            self._option.tbstyle = "no"
        self._style = getattr(self._option, "tbstyle", "auto")

    def pytest_cmdline_main(self, config: Any) -> "int | None":
        if self._quiet:
            quieten(config)
        if self._files:
            root = str(getattr(config, "rootpath", None) or config.rootdir)
            places = [(name, locate(name, root)) for name in self._files]
            found = [path for _, path in places if path]
            if not found:
                self._end(5)
                return 5
            if self._only:  # by function, which any pytest understands; xdist's workers get it too
                functions = dict.fromkeys(name.partition("[")[0] for name in self._only)
                found = [
                    path + f[len(name) :] for name, path in places if path for f in functions if within_file(f, name)
                ]
            config.args = found
            tell_workers(config, root, found)
        return None

    def pytest_sessionstart(self, session: Any) -> None:
        self._session = session

    def pytest_collection_modifyitems(self, items: "list[Any]", config: Any) -> None:
        if self._only:
            kept, gone = [], []  # type: tuple[list[Any], list[Any]]
            for item in items:
                wanted = not self._only.keys().isdisjoint((item.nodeid, item.nodeid.partition("[")[0]))
                (kept if wanted else gone).append(item)
            items[:] = kept
            if gone:
                config.hook.pytest_deselected(items=gone)
        if self._shuffle is not None:
            items[:] = shuffled(items, self._shuffle)

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome == "failed":
            self._line("collect", report.nodeid, report, "error")

    def pytest_runtest_logreport(self, report: Any) -> None:
        name, outcome, when = report.nodeid, report.outcome, report.when
        self._seconds[name] = self._seconds.get(name, 0.0) + float(getattr(report, "duration", 0.0))
        if outcome == "rerun":
            self._running.pop(name, None)
            return
        expected = hasattr(report, "wasxfail")
        subtest = type(report).__name__.lower() == "subtestreport"
        result = None
        if outcome == "failed":
            result = "failed" if when == "call" else "error"
        elif subtest:
            pass  # the test itself says how it went
        elif outcome == "skipped":
            result = "xfailed" if expected else "skipped"
        elif when == "call":
            result = "xpassed" if expected else "passed"
        before = self._running.get(name)
        if result is not None and (before is None or rank(result) > rank(before[0])):
            self._running[name] = (result, report)
        if when not in ("setup", "call"):  # teardown, or what xdist says of a test that took its worker down
            self._finish(name)
            if self._failed >= self._most_failing > 0:  # `--maxfail` counts a test twice that fails at its end, too
                self._session.shouldfail = "%d tests failed" % self._failed

    def pytest_sessionfinish(self, session: Any, exitstatus: int) -> None:
        for name in list(self._running):  # begun and not ended
            self._running[name] = ("error", self._running[name][1])
            self._finish(name)
        self._end(int(exitstatus))
        many = self._failed * self._count > SECTIONS
        self._option.tbstyle = "no" if many else self._style
        if many:
            terminal = session.config.pluginmanager.get_plugin("terminalreporter")
            if terminal:
                terminal.write_line("\n%d tests failed: too many to print each" % self._failed)

    def _finish(self, name: str) -> None:
        result, report = self._running.pop(name, ("error", None))
        self._count += 1
        self._failed += result in ("failed", "error")
        self._line("test", name, report, result)

    def _line(self, kind: str, name: str, report: Any, outcome: str) -> None:
        inner = '"%s": %s, "outcome": "%s"' % (kind, self._quote(name), outcome)
        if outcome == "xfailed" and "xfail" not in getattr(report, "keywords", ()):
            inner += ', "unmarked": true'
        if name in self._seconds:
            inner += ', "seconds": %.3f' % self._seconds.pop(name)
        if outcome in ("failed", "error") and report is not None and self._texts:
            self._texts -= 1
            if not self._texts:  # to put one together takes longer than most tests do
                self._option.tbstyle = "no"
            text = report.longreprtext if hasattr(report, "longreprtext") else str(report.longrepr)
            inner += ', "text": ' + self._quote(shorten(text))
        self._report(inner)

    def _end(self, status: int) -> None:
        if not self._ended:
            self._ended = True
            self._report('"end": %d, "count": %d' % (status, self._count))


def shuffled(items: "list[Any]", seed: int) -> "list[Any]":
    """Modules in another order, and the tests of each: fixtures of a module are still set up once."""
    modules = {}  # type: dict[str, list[Any]]
    for item in items:
        modules.setdefault(item.nodeid.partition("::")[0], []).append(item)
    chooser = random.Random(seed)
    names = sorted(modules)
    chooser.shuffle(names)
    for name in names:
        chooser.shuffle(modules[name])
    return [item for name in names for item in modules[name]]


def within_file(test: str, name: str) -> bool:
    return test == name or test.startswith(name + "::")


def rank(result: str) -> int:
    return ("xfailed", "skipped", "xpassed", "passed", "error", "failed").index(result)


def locate(name: str, root: str) -> "str | None":
    for path in (os.path.join(root, name), os.path.abspath(name)):
        if os.path.exists(path):
            return path
    return None


def tell_workers(config: Any, root: str, files: "list[str]") -> None:
    """Have xdist's workers, which read the command line anew, find the same configuration and the same files."""
    given = getattr(config, "invocation_params", None)
    if given is None or not hasattr(config.option, "numprocesses"):
        return
    arguments = [str(argument) for argument in given.args]
    for named in getattr(config.option, "file_or_dir", None) or ():
        if named in arguments:
            arguments.remove(named)
    configuration = str(getattr(config, "inipath", None) or getattr(config, "inifile", None) or os.devnull)
    arguments = arguments + ["--rootdir", root, "-c", configuration] + files
    config.invocation_params = type(given)(args=tuple(arguments), plugins=given.plugins, dir=given.dir)


def quieten(config: Any) -> None:
    """Switch off what makes two runs of one suite differ, or a run long for nothing."""
    option = config.option
    # pytest-benchmark repeats for a second what is over soon; five times are enough
    if getattr(option, "benchmark_max_time", None) is not None:
        option.benchmark_max_time = type(option.benchmark_max_time)(0)
    if hasattr(option, "randomly_reorganize"):
        option.randomly_reorganize = False
        option.randomly_seed = 1


def import_pytest(workdir: str) -> Any:
    """Pytest from where it is installed, even if the repository is on the path (an editable install, PYTHONPATH)."""
    full = list(sys.path)
    sys.path[:] = path_outside(workdir)
    known = set(sys.modules)
    try:
        import unittest  # noqa: F401  pytest looks for it in sys.modules; the repository's must not be there first

        import pytest
    except ImportError:  # the repository is pytest itself, or a package that pytest needs
        for name in set(sys.modules) - known:
            del sys.modules[name]
        sys.path[:] = full
        try:
            import pytest
        except ImportError as error:
            print(error, file=sys.stderr)
            sys.exit(127)
    sys.path[:] = full
    return pytest


def path_outside(workdir: str) -> "list[str]":
    """`sys.path` without what is in the repository."""
    trusted = sys.prefix if within(sys.prefix, workdir) else None  # a virtual environment inside the repository
    return [e for e in sys.path if not within(e, workdir) or (trusted and within(e, trusted))]


def within(path: str, folder: str) -> bool:
    return (os.path.realpath(path) + os.sep).startswith(os.path.join(os.path.realpath(folder), ""))


def become(pytest: Any, script: str) -> str:
    """Look like the program this stands for: `sys.path[0]`, `sys.argv[0]` and the `__main__` module."""
    if script:
        spec, path, first = None, script, os.path.dirname(script)
    else:
        spec = importlib.util.find_spec("pytest.__main__" if hasattr(pytest, "__path__") else "pytest")
        path, first = str(spec and spec.origin), os.getcwd()
    program = types.ModuleType("__main__")
    program.__file__ = path
    program.__spec__ = spec  # multiprocessing's children import the parent's main module by it
    sys.modules["__main__"] = program
    sys.path.insert(0, first)
    return path


def main() -> int:
    go_on_in_child()
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "job.json")) as file:
        job = json.load(file)
    for name in ("job.json", "runner.py"):
        os.unlink(os.path.join(folder, name))
    sys.path[:] = [entry for entry in sys.path if not within(entry, folder)]
    sys.dont_write_bytecode = True
    if "rounds" in job:
        return do_rounds(job, folder)
    report = open_report(os.path.join(folder, "report"), bytes.fromhex(job.pop("key")))
    return run(job, report, sys.argv[1] if len(sys.argv) > 1 else "")


def do_rounds(job: "dict[str, Any]", folder: str) -> int:
    """Do each round of a series, until one does not end well. What is told of round N is in `report-N`, and that it
    ended, in `ended`."""
    workdir = job["workdir"]
    import_pytest(workdir)
    for name in importlib.import_module("_pytest.config").default_plugins:
        importlib.import_module("_pytest." + name)
    loaded = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    if any(path and within(path, workdir) for path in loaded):
        return REFUSED
    script = sys.argv[1] if len(sys.argv) > 1 else ""
    learnt = os.path.join(folder, "standard")
    for number, one in enumerate(job["rounds"]):
        name, key = os.path.join(folder, "report-%d" % number), bytes.fromhex(one.pop("key"))
        clean = put_in_place(workdir, one.pop("changes"))
        began, limit = time.monotonic(), one.pop("limit")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setsid()
                code = run(dict(job, **one), open_report(name, key), script)
                if number == 0:
                    tell_standard_modules(learnt)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        status = await_child(child, began + limit)
        for path, (content, times) in clean.items():
            with open(path, "wb") as file:
                file.write(content)
            os.utime(path, ns=times)
        ended = {"status": status, "seconds": round(time.monotonic() - began, 3)}
        with open(os.path.join(folder, "ended"), "a") as file:
            file.write(json.dumps(ended) + "\n")
        if status is None or not 0 <= status <= 5:  # pytest has no others
            return 1
        if number == 0:
            import_standard_modules(learnt, workdir)
    return 0


def tell_standard_modules(path: str) -> None:
    """Write down which modules of the standard library this process has loaded, from there."""
    library = os.path.dirname(os.__file__)
    names = []
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in getattr(sys, "stdlib_module_names", ()):
            origin = getattr(getattr(module, "__spec__", None), "origin", None)
            if origin in ("built-in", "frozen") or (origin and within(origin, library) and "-packages" not in origin):
                names.append(name)
    with open(path, "w") as file:
        json.dump(names, file)


def import_standard_modules(path: str, workdir: str) -> None:
    """Import what `tell_standard_modules` wrote down, so that the rounds to come find it done, and have the garbage
    collector leave alone what they share."""
    import gc

    full = list(sys.path)
    sys.path[:] = path_outside(workdir)
    try:
        with open(path) as file:
            names = [str(name) for name in json.load(file)]
    except (OSError, ValueError, TypeError):
        names = []
    for name in names:
        if name.partition(".")[0] in getattr(sys, "stdlib_module_names", ()):
            try:  # noqa: SIM105
                importlib.import_module(name)
            except (Exception, SystemExit):
                pass
    sys.path[:] = full
    if hasattr(gc, "freeze"):
        gc.freeze()


def put_in_place(workdir: str, changes: "dict[str, str]") -> "dict[str, tuple[bytes, tuple[int, int]]]":
    """Write these files (base64, by path in the repository) over the ones that are there; what those held, and their
    times, which byte code is known by."""
    import base64  # here only: grading does without

    clean = {}
    for name, text in changes.items():
        path = os.path.join(workdir, name)
        with open(path, "rb") as file:
            known = os.fstat(file.fileno())
            clean[path] = (file.read(), (known.st_atime_ns, known.st_mtime_ns))
        with open(path, "wb") as file:
            file.write(base64.b64decode(text))
    return clean


def await_child(child: int, until: float) -> "int | None":
    """The exit code of a child that leads a session, negative for a signal; None if it had to be ended at a time.
    What is left of its group ends, too."""
    ended, status, pause = 0, 0, 0.001
    while not ended and time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
    try:  # noqa: SIM105  contextlib would be one import more
        os.killpg(child, signal.SIGKILL)
    except OSError:  # nothing is
        pass
    if not ended:
        os.waitpid(child, 0)
        return None
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def run(job: "dict[str, Any]", report: "Callable[[str], None]", script: str) -> int:
    pytest = import_pytest(job["workdir"])
    for name, order in (("cmdline_main", 1), ("collection_modifyitems", 1), ("sessionfinish", 0)):
        pytest.hookimpl(tryfirst=bool(order), trylast=not order)(getattr(Reporter, "pytest_" + name))
    arguments = job["arguments"]
    if job["extras"]:
        if job["only"] and "PYTEST_DISABLE_PLUGIN_AUTOLOAD" not in os.environ and importlib.util.find_spec("xdist"):
            arguments = arguments + ["-n0"]  # a few tests are quicker without workers
        if "PYTEST_DISABLE_PLUGIN_AUTOLOAD" not in os.environ and importlib.util.find_spec("pytest_cov"):
            arguments = arguments + ["--no-cov"]
        if job["cache"]:  # out of the repository, and not that of an earlier run
            arguments = arguments + ["-o", "cache_dir=" + job["cache"]]
    program = become(pytest, script)
    if job["as_arguments"]:
        job["files"] = [name for name in job["files"] if os.path.exists(name)] or job["files"]
        arguments = arguments + job["files"]
    sys.argv[:] = [program] + arguments
    status = pytest.main(arguments, plugins=[Reporter(report, job)])
    sys.stdout.flush()
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
