"""CI workflows: the job that runs the tests, its matrix reduced to one entry."""

from __future__ import annotations

import time

from forager.forage.workflows import testing_job as find_job

CI = b"""
on: [push]
env: {TZ: UTC, BASE: reqs}
jobs:
  lint:
    runs-on: ubuntu-latest
    steps:
      - run: pip install tox && tox -e lint
  windows:
    runs-on: windows-latest
    steps: [{run: pytest}]
  tests:
    runs-on: ${{ matrix.os }}
    strategy:
      matrix:
        os: [windows-latest, ubuntu-latest]
        python-version: [3.9, "3.10", 3.11, "pypy-3.10"]
        extra: [yaml, toml]
        include:
          - {extra: yaml, os: ubuntu-latest, packages: "ruamel.yaml six"}
          - {extra: other, packages: never}
    env:
      SETTINGS: tests.settings
      SECRET: ${{ secrets.X }}
    steps:
      - uses: actions/setup-python@v5
        with: {python-version: "${{ matrix.python-version }}"}
      - if: runner.os == 'Windows'
        run: pip install pywin32
      - run: |
          sudo apt-get install -y libyaml-dev
          python -m pip install -r ${{ env.BASE }}/tests.txt -e ".[${{ matrix.extra }}]" ${{ matrix.packages }}
      - run: pip install "${{ steps.before.outputs.wheel }}"
      - name: test
        run: pytest tests --cov
        env: {MODE: fast}
"""


def test_the_job_that_tests_is_found_and_its_matrix_is_one_entry() -> None:
    job = find_job({".github/workflows/ci.yml": CI})
    assert job is not None
    assert job.name == ".github/workflows/ci.yml, job tests"
    assert job.pythons == ("3.9", "3.10", "3.11")
    said = job.said
    assert (said.extras, said.files, said.system) == (("yaml",), ("reqs/tests.txt",), ("libyaml-dev",))
    assert (said.requirements, said.paths, said.whole) == (("ruamel.yaml", "six"), ("tests",), False)
    assert {k: v for k, v in job.env.items() if "$" not in v} == {
        "TZ": "UTC",
        "BASE": "reqs",
        "SETTINGS": "tests.settings",
        "MODE": "fast",
    }


def test_a_matrix_of_entries_alone_and_factors_of_tox() -> None:
    data = b"""
jobs:
  build:
    strategy:
      matrix:
        include:
          - {os: macos-latest, py: py39}
          - {os: ubuntu-latest, py: py310, env: "py310-full"}
    steps:
      - run: pip install six && python -m unittest
        working-directory: .
"""
    job = find_job({".github/workflows/x.yaml": data})
    assert job is not None
    assert (job.pythons, job.said.requirements, job.said.whole) == (("3.9", "3.10"), ("six",), True)


def test_travis_is_read_too() -> None:
    data = b"python: [2.7, 3.6, '3.8']\ninstall:\n  - pip install mock\nscript: pytest\n"
    job = find_job({".travis.yml": data})
    assert job is not None
    assert (job.pythons, job.said.requirements) == (("3.6", "3.8"), ("mock",))


def test_what_is_no_workflow_or_a_trap_says_nothing() -> None:
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (n + 1, n + 1, n, n, n, n, n, n, n, n)
        for n in range(97, 115)
    )
    bomb += b"jobs: {t: {strategy: {matrix: {x: *s, y: [*s, 3.11], include: [{x: *s, z: *s}, {x: *q}]}}, runs-on: *s,"
    bomb += b" env: {A: *s}, steps: [{run: *s, if: *s}, {run: pytest, env: {A: *s}, with: {python-version: *s}}]}}"
    started = time.process_time()
    found = find_job(
        {
            ".github/workflows/bomb.yml": bomb,
            ".github/workflows/b.yml": b"\xff\xfe [",
            ".github/workflows/c.yml": b"[" * 100_000,
            ".github/workflows/d.yml": b"jobs: 3",
            ".github/workflows/e.yml": b"jobs: {a: {steps: 1}, b: [], c: {steps: [1, {run: [2]}]}}",
            ".travis.yml": b"script: {a: b}",
        }
    )
    assert time.process_time() - started < 5
    assert found is None or found.said.whole
