"""Copies of a repository's code that other packages carry are gone from its image, and nothing else is."""

from __future__ import annotations

import pytest

from forager.forage.detect import detect
from forager.images.environment import ensure_environment
from forager.images.index import fetch
from forager.sandbox.engine import Engine
from tests.images.repositories import crafted, shell

pytestmark = pytest.mark.docker

LONG = "".join(f"def step_{n}(value):\n    return value + {n}\n\n\n" for n in range(12))
OLDER = LONG.replace("value + 1", "value  +  3") + "def gone():\n    return 'an older release had it'\n"
OTHER = "".join(f"def other_{n}(self):\n    return self.read({n})\n\n\n" for n in range(12))
FILES = {
    "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    '[project]\nname = "gear"\nversion = "1.0"\n[tool.setuptools]\npackages = ["gear", "gear.deep"]\n'
    'package-dir = {"" = "src"}\npy-modules = ["lone"]\n',
    "src/gear/__init__.py": "",
    "src/gear/steps.py": LONG,
    "src/gear/deep/__init__.py": LONG,
    "src/gear/data/helper.py": LONG,  # no package: its path says nothing about whose it is
    "src/lone.py": LONG,
    "migrations/env.py": LONG,
}
SITE = "/opt/venv/lib/python3.11/site-packages"
PLACES = "/usr/lib/python3/dist-packages"
INSTALL = f"""
set -e
uv pip install --python /opt/venv/bin/python --no-deps --editable .
cp -r src build
(cd src && /usr/bin/python3 -m zipfile -c gear/data/old.whl gear/steps.py)
carrier={PLACES}/carrier/_vendor
mkdir -p $carrier {PLACES}/older/vendored/gear/deep {PLACES}/another/_vendor/gear {PLACES}/tool/templates /srv/lib
touch {PLACES}/carrier/__init__.py $carrier/__init__.py
cp -r src/gear src/lone.py $carrier
cp src/gear/deep/__init__.py {PLACES}/older/vendored/gear/deep/
echo '{OLDER.replace("'", '"')}' >{PLACES}/older/vendored/gear/steps.py
echo '{OTHER}' >{PLACES}/another/_vendor/gear/steps.py
/usr/bin/python3 -m compileall -q {PLACES}/carrier
mkdir -p {PLACES}/spaces/_vendor/gear
cp src/gear/steps.py {PLACES}/spaces/_vendor/gear/
touch {PLACES}/spaces/_vendor/gear/of_others.py {PLACES}/spaces/_vendor/gear/more_of_others.py
cp migrations/env.py {PLACES}/tool/templates/
cp -r src/gear {SITE}/
cp src/lone.py /usr/lib/python3.11/lone.py
ln -s /usr/lib/python3.11/lone.py src/linked.py
(cd src && /usr/bin/python3 -m zipfile -c /srv/lib/gear.whl gear)
(cd {PLACES} && /usr/bin/python3 -m zipfile -c /srv/lib/x.zip carrier)
(cd {PLACES}/another/_vendor && /usr/bin/python3 -m zipfile -c /srv/lib/other.whl gear)
(cd migrations && /usr/bin/python3 -m zipfile -c /srv/lib/tool.zip env.py)
echo broken >/srv/lib/broken.whl
mkfifo /srv/lib/pipe.whl /srv/lib/steps.py
printf 'x = 1\\xff' >/srv/lib/env.py
"""


async def test_copies_become_links_and_archives_with_them_go(engine: Engine) -> None:
    tag = await ensure_environment(engine, crafted("gear", FILES, install=INSTALL))
    linked = "carrier/_vendor/gear older/vendored/gear carrier/_vendor/lone.py"
    left = f"spaces/_vendor/gear another/_vendor/gear {SITE}/gear tool/templates/env.py /usr/lib/python3.11/lone.py"
    said = await shell(
        engine,
        tag,
        f"cd {PLACES}; for path in {linked} {left}; do readlink $path || echo stays; done; ls /srv/lib;"
        "find carrier -name '*.pyc' | grep -c -e lone -e _vendor/gear; git -C /testbed status --short;"
        "/usr/bin/python3 -c 'import carrier._vendor.gear.steps as s; print(s.step_3(1))'",
    )
    links = ["/testbed/src/gear", "/testbed/src/gear", "/testbed/src/lone.py"]
    there = ["broken.whl", "env.py", "other.whl", "pipe.whl", "steps.py", "tool.zip"]
    untracked = ["??", "build/", "??", "src/gear.egg-info/", "??", "src/gear/data/old.whl", "??", "src/linked.py"]
    assert said.split() == [*links, *["stays"] * 5, *there, "0", *untracked, "4"]


async def test_the_packages_that_pip_carries_cannot_be_read_there(engine: Engine) -> None:
    tag = await ensure_environment(engine, detect(await fetch("pypi:packaging==24.2")))
    said = await shell(
        engine,
        tag,
        "find / -xdev -path /testbed -prune -o -path '*/packaging/specifiers.py' -type f -print;"
        f"readlink {SITE}/pip/_vendor/packaging; python -m pytest --version",
    )
    assert said.splitlines()[0] == "/testbed/src/packaging" and said.splitlines()[1].startswith("pytest "), said
