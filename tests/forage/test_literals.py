"""setup.py and noxfile.py, read and never run."""

from __future__ import annotations

import time

from forager.forage.literals import nox_session, setup_arguments

SETUP = b"""
import os
from setuptools import setup
open('/tmp/never', 'w')
TESTS = ['pytest', 'mock>=1'] + ['six']
EXTRAS = {'test': TESTS, 'all': [*TESTS, 'yaml'], 'computed': read()}
common = dict(name='pkg', python_requires='>=3.8')
setup(
    version=os.environ['X'],
    install_requires=['a', compute(), 'b'] + os.listdir('.'),
    tests_require=EXTRAS['test'],
    extras_require=EXTRAS,
    **common,
)
"""


def test_names_of_literals_are_followed_in_setup_py() -> None:
    found = setup_arguments(SETUP)
    assert found["install_requires"] == ["a", "b"]
    assert found["tests_require"] == ["pytest", "mock>=1", "six"]
    assert found["extras_require"] == {
        "test": ["pytest", "mock>=1", "six"],
        "all": ["pytest", "mock>=1", "six", "yaml"],
    }
    assert (found["name"], found["python_requires"]) == ("pkg", ">=3.8")
    assert "version" not in found


def test_traps_in_setup_py_end_soon() -> None:
    started = time.process_time()
    wide = b"\n".join(b"x%d = [%s]" % (n, b", ".join([b"*x%d" % (n + 1)] * 300)) for n in range(12))
    assert isinstance(setup_arguments(wide + b"\nx12 = ['a']\nsetup(install_requires=x0)"), dict)
    assert setup_arguments(b"a = a + a\nsetup(name=a)") == {}
    long = (
        b"a = '"
        + b"x" * 9000
        + b"'\n"
        + b"".join(b"a%d = %s + %s\n" % (n, p, p) for n, p in ((1, b"a"), (2, b"a1"), (3, b"a2")))
    )
    assert len(setup_arguments(long + b"setup(name=a3)")["name"]) <= 10_000
    assert setup_arguments(b"setup(name=" + b"(" * 5000) == {}
    assert setup_arguments(b"\0") == {}
    assert time.process_time() - started < 10


NOX = b"""
import nox
VERSIONS = ['3.9', '3.12', 'pypy3']
DEPS = ('mock', 'six>=1')

@nox.session
def lint(session):
    session.install('flake8')
    session.run('flake8')

@nox.session(python=VERSIONS, reuse_venv=True)
def tests(session):
    session.install('-r', 'requirements/test.txt', *DEPS)
    session.install('-e', '.[test]')
    session.run('pytest', '-q', *session.posargs, 'tests')
"""


def test_the_session_of_nox_that_tests() -> None:
    session = nox_session(NOX)
    assert session is not None
    assert (session.name, session.pythons) == ("tests", ("3.9", "3.12"))
    said = session.said
    assert (said.requirements, said.files, said.extras) == (("mock", "six>=1"), ("requirements/test.txt",), ("test",))
    assert said.paths == ("tests",)


def test_a_noxfile_without_tests_says_nothing() -> None:
    assert nox_session(NOX.split(b"@nox.session(")[0]) is None
    assert nox_session(b"def broken(:") is None
