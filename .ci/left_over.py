"""Forager's containers, one a line: id, name, status, owner. Left out are those of processes that live and began
before SINCE (clock ticks since boot): somebody else's run on the same machine.

Usage: left_over.py SINCE
"""

import sys

from forager.errors import ForagerError
from forager.sandbox.engine import Engine
from forager.sandbox.labels import EXPIRES, OWNER, RUN, is_dead

since = int(sys.argv[1])
found = {}
try:
    with Engine.connect(timeout=60) as engine:
        for label in (OWNER, RUN):
            for container in engine.api.containers(all=True, filters={"label": label}):
                found[container["Id"]] = container
except ForagerError as error:
    sys.exit(f"ci: {error}")
for key, container in found.items():
    owner = container["Labels"].get(OWNER, "")
    began = owner.rpartition("/")[2]
    elder = began.isdigit() and int(began) < since
    if not elder or is_dead(owner, container["Labels"].get(EXPIRES, "")):
        print(key, (container["Names"] or ["?"])[0], container["Status"], owner)
