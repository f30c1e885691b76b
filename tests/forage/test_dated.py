"""Environments of an earlier time, from lock files and with older runners."""

from __future__ import annotations

from forager.forage.dated import locks, pinned
from forager.records import Environment

PLAN = Environment(source="x", packages=("click>=8", "pytest", "werkzeug>=3"))
LOCK = b"""version = 1
[[package]]
name = "pytest"
version = "8.1.0"
[[package]]
name = "Werkzeug"
version = "2.0"
[[package]]
name = "click"
version = "8.0"
[[package]]
name = "click"
version = "8.1.7"
"""


def test_a_lock_pins_what_the_plan_allows() -> None:
    versions = locks({"uv.lock": LOCK})
    assert versions == {"pytest": "8.1.0", "werkzeug": "2.0", "click": "8.1.7"}
    assert pinned(PLAN, versions).packages == ("click==8.1.7", "pytest==8.1.0", "werkzeug>=3")


def test_requirement_files_that_pin_are_locks_too() -> None:
    files = {
        "requirements/tests.txt": b"# made\npytest==7.4.0 \\\n    --hash=sha256:00\nclick>=8\n",
        "doc.txt": b"a==1",
    }
    assert locks(files) == {"pytest": "7.4.0"}


def test_broken_locks_say_nothing() -> None:
    assert locks({"uv.lock": b"[[package", "poetry.lock": b'package = "x"', "pdm.lock": b"package = [1]"}) == {}
