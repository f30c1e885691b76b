"""What a repository shares with other packages of its image makes no task: the fix could be read there."""

from __future__ import annotations

import pytest

from forager.forage.elsewhere import find_elsewhere, stands_elsewhere
from forager.forage.mutate import Mutant
from forager.sandbox.engine import Engine

LICENCE = "".join(
    f"# You may not use this file except in compliance with line {n} of the licence.\n" for n in range(5)
)
OWN = """

def own(values):
    total = sum(values) / (1 + len(values))
    print('only here', total)
    return total
"""


@pytest.mark.docker
async def test_code_of_the_standard_library_is_found_and_changes_to_it_are_told_apart(
    engine: Engine, base_image: str
) -> None:
    library = (await engine.call(_read, engine, base_image, "/usr/lib/python3.11/textwrap.py")).decode()
    start = library.index("    def _split_chunks")
    copied = LICENCE + "class Wrapper:\n" + library[start : library.index("    # -- Public", start)] + OWN
    sources = {"wrap.py": copied.encode(), "own.py": (LICENCE + OWN).encode()}
    sources["latin.py"] = copied.encode() + b"# \xe9"
    found = await find_elsewhere(engine, base_image, sources)
    assert list(found) == ["wrap.py"] and "/usr/lib/python3.11/textwrap.py" in found["wrap.py"].values()
    assert all("/textwrap." in where for where in found["wrap.py"].values())

    def change(old: str, new: str) -> Mutant:
        assert copied.count(old) == 1
        start = len(copied[: copied.index(old)].encode())
        return Mutant("removal", "wrap.py", "", 1, start, start + len(old.encode()), new)

    assert stands_elsewhere(found, change("text = self._munge_whitespace(text)", "pass"), sources)
    assert not stands_elsewhere(found, change("(1 + len(values))", "len(values)"), sources)
    assert not stands_elsewhere(found, Mutant("removal", "own.py", "", 1, 0, 900, ""), sources)


def _read(engine: Engine, image: str, path: str) -> bytes:
    output: bytes = engine.client.containers.run(image, ["cat", path], remove=True, network_mode="none")
    return output
