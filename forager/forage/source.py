"""Where a repository comes from: what a user names on the command line, fetched and checked.

    sdist = await fetch("pypi:itsdangerous==2.2.0")     # Sdist(name, version, sha256, path)
    environment = detect(sdist)                         # forage/detect.py
    tag = await ensure_environment(engine, environment) # images/environment.py

The index and the cache are in `images/index.py`, because building an image of a task needs them too.
"""

from __future__ import annotations

from forager.images.index import Sdist, fetch, parse_spec

__all__ = ["Sdist", "fetch", "parse_spec"]
