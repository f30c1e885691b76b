"""A model's reply becomes a mutant of one function's body, or is refused for a reason: strictly, and never run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from forager.forage.mutate import Mutant, all_sites, fingerprint, sample, sites
from forager.forage.operators.functions import IMPLEMENT, REWRITE
from forager.forage.rewrite import KINDS, Place, kind_of

SOURCE = b'''import re


class Range:
    """From low to high."""

    def clamp(self, n, low: int = 0):
        """The nearest number that is not below low.

            An indented line.
        """
        # both ends belong to it
        if n < low:
            return low
        return n  # as it is


async def later(n):
    await n
    text = """
    two
"""
    return text


def short(): return 1


def one():
    return 1
'''
CLAMP = '''def clamp(self, n, low: int = 0):
    """The nearest number that is not below low.

            An indented line.
        """
    # both ends belong to it
    if n {} low:
        return low
    return n  # as it is
'''


def place(function: str, source: bytes = SOURCE) -> Place:
    (mutant,) = (mutant for mutant in sites("lib/range.py", source, REWRITE) if mutant.function == function)
    return Place(mutant, source)


def fenced(code: str) -> str:
    return f"```python\n{code}```\n"


def applied(reply: str, function: str = "Range.clamp", source: bytes = SOURCE) -> str:
    made = place(function, source).read(reply)
    assert isinstance(made, Mutant), made
    return made.apply(source).decode()


def test_functions_of_some_lines_are_places_of_their_own() -> None:
    assert [mutant.function for mutant in sites("a.py", SOURCE, REWRITE)] == ["Range.clamp", "later"]
    assert [mutant.function for mutant in sites("a.py", SOURCE, IMPLEMENT)] == ["Range.clamp"]


def test_a_body_is_taken_out_but_for_its_docstring() -> None:
    (mutant,) = sites("a.py", SOURCE, IMPLEMENT)
    text = mutant.apply(SOURCE).decode()
    start = SOURCE.decode().index("        # both ends")
    end = SOURCE.decode().index("\n\nasync")
    assert text == SOURCE.decode()[:start] + "        raise NotImplementedError\n" + SOURCE.decode()[end:]


def test_every_function_of_real_code_can_be_emptied_and_read_back() -> None:
    library = Path(ast.__file__).parent
    sources = {name: (library / name).read_bytes() for name in ("textwrap.py", "heapq.py", "contextlib.py")}
    mutants = all_sites(sources, REWRITE)
    assert len(list(sample(mutants, sources, "0"))) == len(mutants) > 50
    for mutant in mutants:
        found = Place(mutant, sources[mutant.file])
        ast.parse(found.text)
        assert found.read(fenced(found.text)) == "same", mutant


def test_the_new_body_takes_the_old_ones_place_and_nothing_else_changes() -> None:
    assert applied(fenced(CLAMP.format("<="))) == SOURCE.decode().replace("n < low", "n <= low")
    made = place("Range.clamp").read(fenced(CLAMP.format("<=")))
    assert isinstance(made, Mutant)
    assert (made.operator, made.function, made.line) == ("rewrite", "Range.clamp", 13)


def test_a_reply_with_words_around_it_or_indented_as_in_its_class_will_do() -> None:
    indented = "".join(f"    {line}\n" for line in CLAMP.format("<=").splitlines())
    for reply in ("Here it is:\n\n" + fenced(CLAMP.format("<=")) + "It is subtle.", fenced(indented)):
        assert applied(reply) == SOURCE.decode().replace("n < low", "n <= low")


def test_line_ends_tabs_and_long_strings_stay() -> None:
    source = SOURCE.replace(b"    def", b"\tdef").replace(b"        ", b"\t\t").replace(b'    """From', b'\t"""From')
    source = source.replace(b"\n", b"\r\n")
    text = applied(fenced('async def later(n):\n    text = """\n    two\n"""\n    return text\n'), "later", source)
    assert text.encode() == source.replace(b"    await n\r\n", b"")


def test_new_comments_and_another_docstring_are_left_out() -> None:
    reply = (
        CLAMP.format("<=").replace("    if n", "    # BUG: should be <\n    if n").replace("low\n", "low  # bug\n")
    )
    assert applied(fenced(reply)) == SOURCE.decode().replace("n < low", "n <= low")
    bare = "def clamp(self, n, low: int = 0):\n    if n <= low:\n        return low\n    return n\n"
    text = applied(fenced(bare))
    assert "The nearest number" in text
    assert "n <= low" in text


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I would rather not.", "no_code"),
        ("", "no_code"),
        ("def clamp(self, n, low: int = 0):\n    return n\n", "no_code"),
        (fenced(CLAMP.format("<=")) * 2, "several_blocks"),
        (fenced("def clamp(self, n, low: int = 0):\n    return ((n\n"), "syntax"),
        (fenced("import os\n" + CLAMP.format("<=")), "not_the_function"),
        (fenced("x = 1\n"), "not_the_function"),
        (fenced("    x = 1\n    class A: pass\n"), "not_the_function"),
        (fenced("    def clamp(self, n, low: int = 0):\n        return n\nelse:\n    x = 1\n"), "syntax"),
        (fenced("    def clamp(self, n, low: int = 0):\n        return n\nx = 1\n"), "syntax"),
        (fenced("class clamp:\n    pass\n"), "not_the_function"),
        (fenced(CLAMP.format("<=").replace("low: int = 0", "low: int = 1")), "signature"),
        (fenced(CLAMP.format("<=").replace("low: int", "low")), "signature"),
        (fenced(CLAMP.format("<=").replace("clamp", "clip")), "signature"),
        (fenced("@staticmethod\n" + CLAMP.format("<=")), "signature"),
        (fenced("async " + CLAMP.format("<=")), "signature"),
        (fenced(CLAMP.format("<")), "same"),
        (
            fenced(
                CLAMP.format("<").replace("    if", "    # twice\n\n    if").replace("return low", "return (low)")
            ),
            "same",
        ),
        (fenced("def clamp(self, n, low: int = 0):\n    break\n"), "does_not_compile"),
        (fenced("def clamp(self, n, low: int = 0):\n    return " + "(" * 5000 + "\n"), "syntax"),
        (fenced("def clamp(self, n, low: int = 0):\n    return " + "-" * 5000 + "n\n"), "syntax"),
    ],
)
def test_why_a_reply_is_no_mutant(reply: str, reason: str) -> None:
    assert place("Range.clamp").read(reply) == reason


def test_nothing_of_a_reply_is_run(tmp_path: Path) -> None:
    file = tmp_path / "made"
    body = f"def clamp(self, n, low: int = 0):\n    open({str(file)!r}, 'w')\n    return n\n"
    assert isinstance(place("Range.clamp").read(fenced(body)), Mutant)
    assert not file.exists()


def test_the_prompt_shows_the_function_and_its_module() -> None:
    found = place("Range.clamp")
    (system, user) = found.messages("range 1.0", KINDS[0])
    assert system["role"] == "system"
    for part in ("range 1.0", "lib/range.py", found.text, "async def later", "class Range", KINDS[0]):
        assert part in user["content"]
    long = b"import re\n" + b"x = 1\n" * 5000 + SOURCE + b"y = 2\n" * 5000
    content = place("Range.clamp", long).messages("range", KINDS[0])[1]["content"]
    assert len(content) < 15_000
    assert "import re\n# ...\n" in content
    assert "async def later" in content


def test_kinds_of_bugs_vary_over_functions_and_rounds() -> None:
    places = sites("a.py", SOURCE, REWRITE)
    assert len({kind_of("0", places[0], number) for number in range(len(KINDS))}) == len(KINDS)
    assert len({kind_of(str(seed), places[0], 0) for seed in range(50)}) > 5
    assert kind_of("0", places[0], 1) == kind_of("0", places[0], 1)


def test_what_compiles_to_the_same_is_known_by_its_code() -> None:
    assert fingerprint(b"x = 1\n") == fingerprint(b"x = (1)  # one\n") != fingerprint(b"x = 2\n")
