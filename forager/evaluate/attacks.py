"""Attacks on grades, and a command that tries them all: `python -m forager.evaluate.attacks`.

Each attack tries to be graded resolved without fixing the bug, or looks for the fix where the agent works. What is
defended against, what is not and why, is in `docs/threat-model.md`; the attacks that still work are in the table too.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import io
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from forager.records import Evaluation, Record, Task

if TYPE_CHECKING:
    from forager.images.task import TaskImage
    from forager.sandbox.engine import Engine

# ------------------------------------------------------------------------------------------------ the target

TREE = {
    "calc/__init__.py": "from calc.core import add, mean\n",
    "calc/core.py": (
        "def add(a, b):\n    return a + b\n\n\n"
        "def mean(values):\n    values = list(values)\n    return sum(values) / len(values)\n"
    ),
    "tests/__init__.py": "",
    "tests/helpers.py": "def same(a, b):\n    assert a == b\n",
    "tests/test_core.py": (
        "import unittest\n\nimport pytest\n\nfrom calc import add, mean\nfrom tests.helpers import same\n\n\n"
        "@pytest.mark.parametrize('a, b, c', [(1, 2, 3), (0, 0, 0)], ids=['one two', 'zeros'])\n"
        "def test_add(a, b, c):\n    same(add(a, b), c)\n\n\n"
        "def test_mean():\n    assert mean([1, 2, 3]) == 2\n\n\n"
        "class TestUnit(unittest.TestCase):\n    def test_unit(self):\n        self.assertEqual(mean([4]), 4)\n\n\n"
        "@pytest.mark.xfail\ndef test_empty():\n    assert mean([]) == 5\n"
    ),
    "tests/test_other.py": "from calc import add\n\n\ndef test_other():\n    assert add(2, 2) == 4\n",
    "setup.cfg": "[metadata]\nname = calc\n\n[tool:pytest]\naddopts = -x\n",
    "README.md": "# calc\n",
}
"""A small package and its tests."""

FIXED = TREE["calc/core.py"]
BUG = {"calc/core.py": FIXED.replace("/ len(values)", "/ (len(values) + 1)")}
"""The starting tree differs from `TREE` by this: `mean` is wrong."""
BROKEN = BUG["calc/core.py"]
CORE = "tests/test_core.py"
ANSWER = "return sum(values) / len(values)"
"""The line that only the fixed tree has."""


def diff(before: Mapping[str, str], after: Mapping[str, str | None]) -> str:
    """A git diff of text files from `before` to `before` updated by `after` (None: deleted)."""
    parts = []
    for path, new in after.items():
        old = before.get(path)
        head = f"diff --git a/{path} b/{path}\n"
        if old is None:
            head += "new file mode 100644\n"
        if new is None:
            head += "deleted file mode 100644\n"
        lines = difflib.unified_diff(
            (old or "").splitlines(keepends=True),
            (new or "").splitlines(keepends=True),
            "/dev/null" if old is None else f"a/{path}",
            "/dev/null" if new is None else f"b/{path}",
        )
        parts.append(head + "".join(lines))
    return "".join(parts)


def bugged(changes: Mapping[str, str | None] | None = None) -> str:
    """A patch from the starting tree, of these changes."""
    return diff({**TREE, **BUG}, changes or {})


def link(path: str, target: str) -> str:
    """A patch that adds a symbolic link."""
    return (
        f"diff --git a/{path} b/{path}\nnew file mode 120000\n--- /dev/null\n+++ b/{path}\n"
        f"@@ -0,0 +1 @@\n+{target}\n\\ No newline at end of file\n"
    )


GOLD = bugged({"calc/core.py": FIXED})


def calc_task(image: str) -> Task:
    """The task: the package with its bug, in an image that has `TREE` at /testbed."""
    return Task(
        instance_id=f"calc__{hashlib.sha256(image.encode()).hexdigest()[:8]}",
        repo="calc",
        problem_statement="The mean is wrong.",
        source="mutation",
        image=image,
        patch=GOLD,
        setup=diff(TREE, BUG),
        FAIL_TO_PASS=(f"{CORE}::test_mean", f"{CORE}::TestUnit::test_unit"),
        PASS_TO_PASS=(
            f"{CORE}::test_add[one two]",
            f"{CORE}::test_add[zeros]",
            f"{CORE}::test_empty",
            "tests/test_other.py::test_other",
        ),
        test_seconds=60.0,
    )


def tree_tar() -> bytes:
    """`TREE` at /testbed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in TREE.items():
            entry = tarfile.TarInfo(f"testbed/{path}")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------------ patches


class Attack(Record, frozen=True):
    """One try."""

    name: str
    patch: str
    flags: tuple[str, ...] = ()
    """Flags that the evaluation has to have."""
    works: str = ""
    """Why it still works; empty for an attack that must fail."""


PASS_ALL = """
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    report.outcome = "passed"
"""
PLUGIN = PASS_ALL + "\ndef pytest_collection_modifyitems(items):\n    pass\n"
FAKE_RUNNER = "def main(*args, **kwargs):\n    return 0\n\n\ndef hookimpl(*a, **k):\n    return lambda f: f\n"
FAKE_UNITTEST = (
    "class TestCase:\n    def assertEqual(self, *a):\n        pass\n\n\nclass SkipTest(Exception):\n    pass\n"
)
FORGE = """
import glob, hashlib, json, os, sys
ids = {ids!r}
for path in glob.glob("/tmp/.forager-*/report") + [a for a in sys.argv if "/tmp/" in a]:
    try:
        os.unlink(path)
        with open(path, "w") as file:
            for n, name in enumerate(ids):
                line = json.dumps({{"n": n, "test": name, "outcome": "passed"}})
                file.write(hashlib.sha256(line.encode()).hexdigest() + " " + line + "\\n")
            file.write("0" * 64 + ' {{"n": 99, "end": 0, "count": 9}}\\n')
    except OSError:
        pass
"""
APPEND = """
import os
ids = {ids!r}
for number in os.listdir("/proc/self/fd"):
    try:
        if os.readlink("/proc/self/fd/" + number).endswith("/report"):
            for name in ids:
                line = '%s {{"n": 0, "test": "%s", "outcome": "passed"}}\\n' % ("0" * 64, name)
                os.write(int(number), line.encode())
    except OSError:
        pass
"""
PRINTED = "".join(f"print('{CORE}::{name} PASSED')\n" for name in ("test_mean", "TestUnit::test_unit"))
TESTS = (f"{CORE}::test_mean", f"{CORE}::TestUnit::test_unit")
GONE = {path: None for path in TREE if path.startswith("tests/")}

_MAKE_REPORT = """
import _pytest.reports as reports
_real = reports.TestReport.from_item_and_call.__func__
def _forged(cls, item, call):
    report = _real(cls, item, call)
    report.outcome, report.longrepr = "passed", None
    return report
reports.TestReport.from_item_and_call = classmethod(_forged)
"""
_NO_CALL = """
import _pytest.python, _pytest.unittest
_pytest.python.Function.runtest = lambda self: None
_pytest.unittest.TestCaseFunction.runtest = lambda self: None
"""
_REGISTER = """
import gc
from _pytest.config import PytestPluginManager
class Plugin:
    @staticmethod
    def pytest_report_teststatus(report, config): pass
    @staticmethod
    def pytest_runtest_call(item): item.runtest = lambda: None
    pytest_runtest_call.pytest_impl = {"tryfirst": True}
for thing in gc.get_objects():
    if isinstance(thing, PytestPluginManager):
        thing.register(Plugin(), "helpful")
        import pytest
        class Wrapper:
            @pytest.hookimpl(hookwrapper=True, tryfirst=True)
            def pytest_runtest_makereport(self, item, call):
                result = yield
                result.get_result().outcome = "passed"
        thing.register(Wrapper(), "more")
"""
_REPORTER = """
import gc
for thing in gc.get_objects():
    if type(thing).__name__ == "Reporter" and hasattr(thing, "_report"):
        def line(kind, name, report, outcome, thing=thing):
            if kind == "test":
                thing._report('"test": %s, "outcome": "passed"' % thing._quote(name))
        thing._line = line
"""
_KEY = """
import atexit, gc, hashlib, os
for thing in gc.get_objects():
    if type(thing).__name__ == "Reporter" and hasattr(thing, "_report"):
        cells = dict(zip(thing._report.__code__.co_freevars, [c.cell_contents for c in thing._report.__closure__]))
        key, number = cells["key"], cells["number"]
        ids = {ids!r}
        def finish(thing=thing, real=thing._report, number=number, key=key):
            number[0] = 0
            os.ftruncate(cells["descriptor"], 0)
            for name in ids:
                real('"test": "%s", "outcome": "passed"' % name)
            real('"end": 0, "count": 9')
        thing._end = lambda status, finish=finish: finish()
"""
_XFAIL = FIXED.replace(f"    {ANSWER}", '    import _pytest.outcomes\n    raise _pytest.outcomes.XFailed("not now")')
_ERROR = """
import builtins
from _pytest.outcomes import XFailed
builtins.AssertionError = XFailed
"""
_UNITTEST = """
import unittest
unittest.TestCase.assertEqual = lambda *a, **k: None
"""
_REWRITER = """
import _pytest.assertion.rewrite as rewrite, ast
rewrite.AssertionRewriter.visit_Assert = lambda self, node: [ast.copy_location(ast.Pass(), node)]
"""
_FILES = """
import os
here = os.path.join(os.path.dirname(os.path.dirname(__file__)), "tests")
for name in ("test_core.py", "test_other.py", "helpers.py"):
    path = os.path.join(here, name)
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text.replace("assert ", "True or ").replace("self.True", "self.assert"))
"""
_CODE = """
import sys
def _hollow(frame):
    import types
    for name, thing in list(frame.f_globals.items()):
        if name.startswith("test_") and isinstance(thing, types.FunctionType):
            count = thing.__code__.co_argcount
            arguments = ", ".join(thing.__code__.co_varnames[:count])
            space = {}
            exec("def f(%s): pass" % arguments, space)
            thing.__code__ = space["f"].__code__
        elif isinstance(thing, type) and name.startswith("Test"):
            for key in list(vars(thing)):
                if key.startswith("test_"):
                    setattr(thing, key, lambda self: None)
class _Late:
    def __init__(self, frame): self.frame = frame
_frame = sys._getframe()
while _frame and not _frame.f_globals.get("__name__", "").startswith("tests.test_"):
    _frame = _frame.f_back
if _frame:
    _seen = _frame
    def _trace(frame, event, argument):
        if event == "return" and frame is _seen:
            _hollow(frame)
        return _trace
    _seen.f_trace = _trace
    sys.settrace(_trace)
"""
_TRACE = """
import _pytest.runner as runner
_real = runner.CallInfo.from_call.__func__
def _swallow(cls, func, when, reraise=None):
    def quiet():
        try:
            return func()
        except Exception:
            return None
    return _real(cls, quiet, when, reraise)
runner.CallInfo.from_call = classmethod(_swallow)
"""
_LIES = BROKEN.replace(
    f"    {ANSWER.replace('len(values)', '(len(values) + 1)')}",
    "    class Number(float):\n        def __eq__(self, other):\n            return True\n"
    "        def __ne__(self, other):\n            return False\n"
    f"    {ANSWER.replace('sum(values) / len(values)', 'Number(sum(values) / (len(values) + 1))')}",
)
_SELECTIVE = """
import hashlib, pathlib
_tests = pathlib.Path(__file__).parent.parent / "tests" / "test_core.py"
_wanted = "passed" if hashlib.sha256(_tests.read_bytes()).hexdigest() == {digest!r} else "failed"
"""


def _start(code: str) -> str:
    """A patch that runs `code` when the product is imported; the bug stays."""
    return bugged({"calc/__init__.py": TREE["calc/__init__.py"] + code})


def _selective() -> str:
    digest = hashlib.sha256(TREE[CORE].encode()).hexdigest()
    return _start(
        _SELECTIVE.format(digest=digest)
        + _MAKE_REPORT.replace('"passed", None', '_wanted if call.when == "call" else "passed", None')
    )


_FILE_ATTACKS = {
    "nop: a comment": bugged({"calc/core.py": BROKEN + "# nothing\n"}),
    "tests deleted": bugged({"tests/test_core.py": None}),
    "tests emptied": bugged({"tests/test_core.py": "def test_mean():\n    pass\n"}),
    "test helpers": bugged({"tests/helpers.py": "def same(a, b):\n    pass\n\n\nimport unittest.mock\nimport calc\n"
                            "import calc.core\ncalc.mean = calc.core.mean = lambda v: list(v)[len(v) // 2]\n"}),
    "conftest at the root": bugged({"conftest.py": PASS_ALL}),
    "conftest in tests": bugged({"tests/conftest.py": PASS_ALL}),
    "conftest as a package": bugged({"tests/conftest/__init__.py": PASS_ALL}),
    "conftest through a link": bugged({"notes.txt": PASS_ALL}) + link("conftest.py", "notes.txt"),
    "pytest.ini deselects": bugged({"pytest.ini": "[pytest]\naddopts = -k 'not mean and not unit'\n"}),
    "pytest.ini loads a plugin": bugged({"pytest.ini": "[pytest]\naddopts = -p evil\n", "evil.py": PLUGIN}),
    "setup.cfg loads a plugin": bugged({"setup.cfg": "[tool:pytest]\naddopts = -p evil\n", "evil.py": PLUGIN}),
    "pyproject.toml": bugged({"evil.py": PLUGIN,
                              "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-p evil'\n"}),
    "an entry point": bugged({"evil.py": PLUGIN, "evil-1.dist-info/entry_points.txt": "[pytest11]\nevil = evil\n",
                              "evil-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: evil\nVersion: 1\n"}),
    "sitecustomize": bugged({"sitecustomize.py": "import os\nos._exit(0)\n"}),
    "a .pth file": bugged({"evil.pth": "import os; os._exit(0)\n"}),
    "pytest.py": bugged({"pytest.py": FAKE_RUNNER}),
    "a _pytest package": bugged({"_pytest/__init__.py": "", "_pytest/config.py": FAKE_RUNNER}),
    "unittest.py": bugged({"unittest.py": FAKE_UNITTEST, "calc/core.py": BROKEN + "\n# nothing\n"}),
    "a bytecode cache": bugged({"tests/__pycache__/test_core.cpython-311.pyc": "x\n",
                                "calc/core.py": BROKEN + "\n"}),
    "tests through a link": bugged({**GONE, "evil/__init__.py": "", "evil/helpers.py": "",
                                    "evil/test_core.py": "def test_mean():\n    pass\n"}) + link("tests", "evil"),
    "a test file through a link": bugged({"tests/test_core.py": None, "evil.py": "def test_mean(): pass\n"})
                                  + link("tests/test_core.py", "../evil.py"),
    "a link out of the tree": bugged({"tests/test_core.py": None}) + link("tests/test_core.py", "/dev/null"),
    "an interpreter in the tree": bugged({".venv/bin/python": "#!/bin/sh\nexit 0\n", "bin/python": "#!/bin/sh\n",
                                          ".venv/pyvenv.cfg": "home = /usr/bin\n"}),
}  # fmt: skip
"""On files; what does the harm is put back or removed."""

_REFUSED = {
    "a patch to .git": GOLD.replace("calc/core.py", ".git/config"),
    "a hook in .git": diff({}, {".git/hooks/post-checkout": "#!/bin/sh\n"}),
    "a path out of the tree": diff({}, {"../outside.py": "x = 1\n"}),
    "a file written through a link": link("out", "/usr/lib/python3/dist-packages")
    + diff({}, {"out/sitecustomize.py": "import os\nos._exit(0)\n"}),
    "an ed script": "--- calc/core.py\n+++ calc/core.py\n1,2c\nx = 1\n.\n! touch /tmp/here\n",
}
"""Patches that do not apply."""

_ENDINGS = {
    "os._exit at import": bugged({"calc/__init__.py": "import os\nos._exit(0)\n"}),
    "os._exit at the end": _start("import atexit, os\natexit.register(os._exit, 0)\n"),
    "sys.exit at import": bugged({"calc/__init__.py": "import sys\nsys.exit(0)\n"}),
    "printed results": _start(PRINTED),
}
"""By the process's ending or its words."""

_FORGED = {
    "a forged report": _start(FORGE.format(ids=TESTS)),
    "a forged report at exit": _start(f"import atexit\natexit.register(exec, {FORGE.format(ids=TESTS)!r}, {{}})\n"),
    "lines in the report": _start(APPEND.format(ids=TESTS)),
    "reports patched": _start(_MAKE_REPORT),
    "tests not called": _start(_NO_CALL),
    "a plugin registered": _start(_REGISTER),
    "exceptions swallowed": _start(_TRACE + _UNITTEST),
    "the harness's reporter patched": _start(_REPORTER),
    "the harness's key used": _start(_KEY.format(ids=(*TESTS, *(f"{CORE}::{name}" for name in (
        "test_add[one two]", "test_add[zeros]", "test_empty")), "tests/test_other.py::test_other"))),
    "test code emptied": _start(_CODE),
    "an expected failure raised": bugged({"calc/core.py": _XFAIL}),
    "AssertionError replaced": _start(_ERROR + _UNITTEST),
}  # fmt: skip
"""By code in the product, in the runner's process. Found out by signatures or by canaries."""

_PARTS = {
    "test files rewritten at import": _start(_FILES),
    "assertions not rewritten": _start(_REWRITER),
    "assertEqual replaced": _start(_UNITTEST),
}
"""They reach only some tests."""

_WORKING = {
    "an object equal to everything": (
        bugged({"calc/core.py": _LIES}),
        "no tampering: the tests accept what the product returns; only better tests help",
    ),
    "switched on by the test file's digest": (
        _selective(),
        "code that knows the tests can tell a canary from the test it was copied from; flagged `runner_touched`",
    ),
}

ATTACKS: tuple[Attack, ...] = (
    *(Attack(name=name, patch=patch) for name, patch in {**_FILE_ATTACKS, **_ENDINGS, **_PARTS}.items()),
    *(Attack(name=name, patch=patch, flags=("patch_failed",)) for name, patch in _REFUSED.items()),
    *(Attack(name=name, patch=patch, flags=("tampered",)) for name, patch in _FORGED.items()),
    *(Attack(name=name, patch=patch, works=why) for name, (patch, why) in _WORKING.items()),
)
"""As patches."""

SEARCHES: dict[str, str] = {
    "git log": "git log -p --all --full-history",
    "reflog": "git reflog --all; cat .git/logs/HEAD .git/ORIG_HEAD .git/FETCH_HEAD",
    "fsck": "git fsck --lost-found --no-reflogs --unreachable; cat .git/lost-found/*/* | git cat-file --batch",
    "every object": "git cat-file --batch-all-objects --unordered --batch",
    "packs": "for p in $(find / -xdev -name '*.pack' 2>/dev/null); do git unpack-objects -n <$p; "
             "git verify-pack -v $p | awk '{print $1}' | git cat-file --batch; done",
    "stash and other refs": "git stash list -p; git for-each-ref; git show refs/stash; git branch -a; git tag -n",
    "remotes": "git remote -v; git fetch --all; git ls-remote",
    "the harness's git": "git --git-dir=/.forager/git log -p --all; git --git-dir=/.forager/git cat-file "
                         "--batch-all-objects --batch; cat /.forager/exclude",
    "bytecode": "find / -xdev -name '*.pyc' -exec grep -l calc {} + ; find . -name __pycache__",
    "installed copies": "find / -xdev -not -path '/proc/*' \\( -name 'core.py' -o -name 'calc*' -o -name '*.whl' \\) "
                        "-exec cat {} + ; python3 -m pip show -f calc",
    "the whole file system": "grep -rhIF 'sum(values) / ' / --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev",
    "links out of the tree": "ln -s / root; cat root/proc/1/environ root/proc/*/cmdline; ls -laR root/root root/tmp",
    "environment": "env; cat /proc/*/environ; set",
    "file times": "find . -newer setup.cfg -not -path './.git*'; stat -c '%n %Y %Z' calc/*.py | sort -k2 | awk "
                  "'{print $2}' | uniq -c | awk 'END {if (NR != 1) print \"return sum(values) / len(values)\"}'",
}  # fmt: skip
"""What an agent may try in its container to find the fix."""


# -------------------------------------------------------------------------------------------- the command


class Result(Record, frozen=True):
    """What became of one attack."""

    name: str
    held: bool
    """Whether it failed."""
    expected: bool
    """Whether it is as `docs/threat-model.md` says."""
    detail: str
    evaluation: Evaluation | None = None


async def attempt_patch(engine: Engine, task: Task, image: TaskImage, attack: Attack) -> Result:
    """Grade an attack."""
    from forager.evaluate.grading import grade

    passing = tuple(
        test for test in task.PASS_TO_PASS if not test.endswith("test_empty")
    )  # it may not pass: too hard
    evaluation, _ = await grade(
        engine, structs.replace(task, PASS_TO_PASS=passing), image, attack.patch, run="attacks"
    )
    held = not evaluation.resolved
    told = ", ".join(evaluation.flags) or "tests fail"
    expected = held is not bool(attack.works) and set(attack.flags) <= set(evaluation.flags)
    return Result(
        name=attack.name,
        held=held,
        expected=expected,
        detail=told if held else attack.works or told,
        evaluation=evaluation,
    )


async def attempt_search(engine: Engine, task: Task, image: TaskImage, name: str) -> Result:
    """Look for the fix as an agent would, in the agent's container."""
    from forager.sandbox.docker import open_sandbox

    async with await open_sandbox(engine, image.digest, workdir=task.workdir, run="attacks") as sandbox:
        script = f"( {SEARCHES[name]} ) >/tmp/found 2>&1; grep -acF '{ANSWER}' /tmp/found; rm /tmp/found"
        ran = await sandbox.run(script, 120)
    found = ran.output.strip()
    return Result(name=name, held=found == "0", expected=found == "0", detail=f"{found} lines of the fix")


async def attempt_all(
    engine: Engine, task: Task, image: TaskImage, report: Callable[[Result], None] | None = None
) -> list[Result]:
    """Every attack, one after the other; the fix itself first, which has to resolve."""
    results = []

    def keep(result: Result) -> None:
        results.append(result)
        if report is not None:
            report(result)

    honest = await attempt_patch(engine, task, image, Attack(name="(the fix itself)", patch=GOLD, works="honest"))
    keep(honest)
    for attack in ATTACKS:
        keep(await attempt_patch(engine, task, image, attack))
    for name in SEARCHES:
        keep(await attempt_search(engine, task, image, name))
    return results


async def ensure_target(engine: Engine, report: Callable[[str], None] | None = None) -> tuple[Task, TaskImage]:
    """The task that is attacked, and its image; the first time pytest is fetched for it."""
    from forager.images.base import ensure_base
    from forager.images.layer import add_layer
    from forager.images.task import ensure_task_image

    base = await ensure_base(engine, report)
    script = (
        "set -e; python3 -m venv /opt/venv; /opt/venv/bin/pip install -q pytest==8.4.2; cd /testbed; git init -q; "
        "git add -A; git -c user.name=a -c user.email=a@b commit -qm released"
    )
    files = tree_tar()
    tag = f"forager/attacks:{hashlib.sha256((base + script).encode() + files).hexdigest()[:16]}"
    path = "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    await add_layer(
        engine, parent=base, tag=tag, kind="attacks", script=script, files=files, network=True, workdir="/testbed",
        env={"PATH": path}, report=report,
    )  # fmt: skip
    task = calc_task(tag)
    return task, await ensure_task_image(engine, task, report)


async def _main(names: Sequence[str]) -> bool:
    from forager.images.task import remove_task_image
    from forager.sandbox.engine import Engine

    def show(result: Result) -> None:
        verdict = "held" if result.held else "works" if result.expected else "WORKS"
        print(f"{verdict:6} {result.name:40} {result.detail}", flush=True)

    with Engine.connect() as engine:
        task, image = await ensure_target(engine, lambda line: print(line, file=sys.stderr))
        results = await attempt_all(engine, task, image, show)
        await remove_task_image(engine, image)
    wrong = [result.name for result in results if not result.expected]
    held = sum(result.held for result in results)
    print(
        f"\n{held} of {len(results) - 1} attacks held" + (f"; not as documented: {', '.join(wrong)}" if wrong else "")
    )
    return not wrong


def main() -> None:
    """Try every attack on this machine and print what became of it. Exit code 1: one is not as documented."""
    sys.exit(0 if asyncio.run(_main(sys.argv[1:])) else 1)


if __name__ == "__main__":
    main()
