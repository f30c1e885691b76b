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
    'package-dir = {"" = "src"}\npy-modules = ["lone", "glob"]\n',
    "src/gear/__init__.py": "",
    "src/gear/steps.py": LONG,
    "src/gear/deep/__init__.py": LONG,
    "src/lone.py": LONG,
    "src/glob.py": LONG,  # named as a module of the standard library
}
SITE = "/opt/venv/lib/python3.11/site-packages"
PLACES = "/usr/lib/python3/dist-packages"
INSTALL = f"""
set -e
uv pip install --python /opt/venv/bin/python --no-deps --editable .
mkdir -p {PLACES}/carrier/_vendor {PLACES}/older/gear/deep {PLACES}/another/gear {PLACES}/one /srv/lib /opt/lib
touch {PLACES}/carrier/__init__.py {PLACES}/carrier/_vendor/__init__.py
cp -r src/gear {PLACES}/carrier/_vendor/
/usr/bin/python3 -m compileall -q {PLACES}/carrier
cp src/gear/deep/__init__.py {PLACES}/older/gear/deep/
cat >{PLACES}/older/gear/steps.py <<'END'
{OLDER}
END
cat >{PLACES}/another/gear/steps.py <<'END'
{OTHER}
END
cp src/lone.py {PLACES}/one/
/usr/bin/python3 -m compileall -q {PLACES}/one
(cd src && /usr/bin/python3 -m zipfile -c /srv/lib/gear.whl gear)
(cd src && /usr/bin/python3 -m zipfile -c /srv/lib/x.zip lone.py)
(cd {PLACES}/another && /usr/bin/python3 -m zipfile -c /srv/lib/other.whl gear)
echo broken >/srv/lib/broken.whl
cp -r src/gear {SITE}/
touch /opt/lib/os.py
cp src/glob.py /opt/lib/glob.py
"""


async def test_copies_become_links_and_archives_with_them_go(engine: Engine) -> None:
    tag = await ensure_environment(engine, crafted("gear", FILES, install=INSTALL))
    places = f"carrier/_vendor/gear older/gear one/lone.py another/gear {SITE}/gear /opt/lib/glob.py"
    said = await shell(
        engine,
        tag,
        f"cd {PLACES}; for path in {places}; do readlink $path || echo stays; done; ls /srv/lib;"
        f"find {PLACES}/one {PLACES}/carrier -name '*.pyc' | grep -c -e lone -e _vendor/gear;"
        "/usr/bin/python3 -c 'import carrier._vendor.gear.steps as s; print(s.step_3(1))'",
    )
    links = ["/testbed/src/gear", "/testbed/src/gear", "/testbed/src/lone.py"]
    assert said.split() == [*links, "stays", "stays", "stays", "broken.whl", "other.whl", "0", "4"]


async def test_the_packages_that_pip_carries_cannot_be_read_there(engine: Engine) -> None:
    tag = await ensure_environment(engine, detect(await fetch("pypi:packaging==24.2")))
    said = await shell(
        engine,
        tag,
        "find / -xdev -path /testbed -prune -o -path '*/packaging/specifiers.py' -type f -print;"
        f"readlink {SITE}/pip/_vendor/packaging; python -m pytest --version",
    )
    assert said.splitlines()[0] == "/testbed/src/packaging" and said.splitlines()[1].startswith("pytest "), said
