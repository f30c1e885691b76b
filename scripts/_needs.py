"""What set-up still has to see to, as one line for `_setup.sh`.

ok                    an engine answers and a base image can be had
packages NAME...      an engine answers; a base image needs these Debian packages first
none MESSAGE          no engine answers
refused MESSAGE       an engine is there and cannot be used by this user
"""

import asyncio

from forager.errors import ForagerError
from forager.images.base import base_tag, bootstrap_packages, registry_answers
from forager.images.build import image_exists
from forager.sandbox.engine import NO_ENGINE, Engine


async def needs() -> str:
    try:
        with Engine.connect(timeout=10) as engine:
            lacking = bootstrap_packages()
            if not lacking or await image_exists(engine, base_tag()) or await registry_answers(engine):
                return "ok"
            return f"packages {' '.join(lacking)}"
    except ForagerError as error:
        return f"{'none' if str(error) == NO_ENGINE else 'refused'} {error}"


print(asyncio.run(needs()))
