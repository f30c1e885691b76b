"""Candidates: the change that undoes a typical fault is among them, and every one can be made by an `edit`."""

from __future__ import annotations

import ast
import textwrap

import pytest

from forager.edits import replace_lines
from forager.models.search.candidates import candidates
from forager.models.search.editing import search_replace, with_change
from forager.models.search.hints import Hints, read_hints
from forager.models.search.source import Candidate, Fragment


def found(source: str, hints: Hints | None = None) -> dict[str, Candidate]:
    """Candidates for a piece of source, by the source they lead to (as its parser sees it)."""
    fragment = Fragment("a.py", 1, textwrap.dedent(source).strip("\n").split("\n"))
    result: dict[str, Candidate] = {}
    for candidate in candidates([fragment], hints or Hints()):
        try:
            tree = ast.parse("\n".join(with_change(fragment, candidate)))
        except SyntaxError:
            continue
        result.setdefault(ast.dump(tree), candidate)
    return result


def leads_to(faulty: str, right: str, hints: Hints | None = None) -> bool:
    return ast.dump(ast.parse(textwrap.dedent(right).strip("\n"))) in found(faulty, hints)


FUNCTION = """
def f(items, size, strict=False):
    count = 0
    for item in items:
        {inside}
    {after}
"""


@pytest.mark.parametrize(
    ("faulty", "right"),
    [
        ("if item < size: return 1", "if item <= size: return 1"),
        ("if item == size: return 1", "if item != size: return 1"),
        ("if item not in size: return 1", "if item in size: return 1"),
        ("if item and size: return 1", "if item or size: return 1"),
        ("if not strict: return 1", "if strict: return 1"),
        ("if strict: return 1", "if not strict: return 1"),
        ("size = size + item", "size = size - item"),
        ("count -= item", "count += item"),
        ("size = size // 7", "size = size % 7"),
        ("size = 8", "size = 7"),
        ("size = items[0]", "size = items[-1]"),
        ("size = items[1:]", "size = items[:1]"),
        ("size = items[:size]", "size = items[size:]"),
        ("size = items[2:size]", "size = items[1:size]"),
        ("size = True", "size = False"),
        ("size = max(item, 1)", "size = min(item, 1)"),
        ("g(size, item)", "g(item, size)"),
        ("g(item)", "g(item, strict)"),
        ("g(item)", "g(item, strict=strict)"),
        ("size = 1 if item else 2", "size = 2 if item else 1"),
        ("raise ValueError(item)", "raise KeyError(item)"),
        ("size = -item", "size = item"),
        ("break", "continue"),
        ("pass", "continue"),
        ("return None", "return item"),
        ("return size", "return not size"),
        ("size = item.lower()", "size = item.upper()"),
        ("size = item.keys()", "size = item.values()"),
        ("size = sorted(item)", "size = list(item)"),
        ("for a, b in item: g(b, a)", "for b, a in item: g(b, a)"),
        ("a, b = item", "b, a = item"),
        ("size = size", "size = dict(size)"),
        ("size = item", "size = item or {}"),
        ("if True: g()", "if strict: g()"),
        ("size = [i for i in item]", "size = [i for i in item if i]"),
        ("break", "return item"),
        ("size = '-'", "size = '_'"),
        ("size = '%s' % item", "size = '%r' % item"),
        ("size = f'{item}'", "size = f'{item!r}'"),
        ("size = '{size}'.format()", "size = '{size}'.format(size=size)"),
        ("yield item", "yield from item"),
    ],
)
def test_typical_faults_are_undone(faulty: str, right: str) -> None:
    after = "return count, strict" if "strict)" not in right and "=strict" not in right else "return count"
    assert leads_to(FUNCTION.format(inside=faulty, after=after), FUNCTION.format(inside=right, after=after))


def test_what_was_taken_out_is_put_back() -> None:
    counts = FUNCTION.format(inside="g(item)", after="return count, size, strict")
    assert leads_to(counts, counts.replace("g(item)", "g(item)\n        count += 1"))

    forgets = "def f(items):\n    result = [i for i in items]"
    assert leads_to(forgets, forgets + "\n    return result")

    init = "class A:\n    def __init__(self, size, name):\n        self.size = size"
    assert leads_to(init, init + "\n        self.name = name")

    fills = "def f(items):\n    out = []\n    for item in items:\n        g(item)\n    return out"
    assert leads_to(fills, fills.replace("g(item)", "g(item)\n        out.append(item)"))


def test_what_stands_in_code_alike_is_borrowed() -> None:
    sibling = "def g(d):\n    out = make()\n    return out\n\ndef f(d):\n    out = None\n    return out"
    assert leads_to(sibling, sibling.replace("None", "make()"))

    loops = "def g(a):\n    for x in LIST:\n        if x: return a\n\ndef f(a):\n    for x in LIST:\n        pass"
    assert leads_to(loops, loops.replace("pass", "if x: return a"))

    sums = "def f(hour):\n    minute = (hour - int(hour)) * 60\n    second = minute * 60\n    return second"
    assert leads_to(sums, sums.replace("= minute *", "= (minute - int(minute)) *"))


def test_what_a_definition_lost_is_given_back() -> None:
    error = "class Bad(Exception):\n    def __init__(self, text, more=None):\n        self.more = more"
    fixed = error.replace("        self.more", "        super().__init__(text)\n        self.more")
    assert leads_to(error, fixed)

    curried = "@curry\ndef g(a, b):\n    return a\n\ndef f(a, b):\n    return b"
    assert leads_to(curried, curried.replace("def f", "@curry\ndef f"))

    static = "class A:\n    def f(a):\n        return a"
    assert leads_to(static, static.replace("    def", "    @staticmethod\n    def"))

    default = "LONG = 'a'\n\ndef f(a, form=None):\n    return g(a, form)"
    assert leads_to(default, default.replace("None", "LONG"))

    lost = "import re\n\ndef f(a):\n    return os.sep + re.escape(a)"
    hints = read_hints("", "E   NameError: name 'os' is not defined")
    assert leads_to(lost, lost.replace("import re", "import re\nimport os"), hints)


def test_arguments_that_an_error_names_are_passed() -> None:
    hints = read_hints("", "E   TypeError: g() got an unexpected keyword argument 'value'")
    assert leads_to("def f(a, now):\n    return g(a, value=now)", "def f(a, now):\n    return g(a, now=now)", hints)
    hints = read_hints("", "E   TypeError: g() missing 1 required keyword-only argument: 'sep'")
    assert leads_to("def f(re_sep):\n    return g()", "def f(re_sep):\n    return g(sep=re_sep)", hints)


def test_a_class_level_statement_read_by_itself_gives_candidates_inside_it() -> None:
    fragment = Fragment("a.py", 44, ["    limit = 3"])
    assert {c.first for c in candidates([fragment], Hints())} == {44}


def test_swapped_branches_are_undone_by_the_opposite_condition() -> None:
    assert leads_to(
        "def f(a):\n    if a.b:\n        return 1\n    else:\n        return 2",
        "def f(a):\n    if not a.b:\n        return 1\n    else:\n        return 2",
    )


def test_exceptions_that_the_failures_name_are_offered() -> None:
    hints = read_hints("", "E       Failed: DID NOT RAISE <class 'pkg.BadThing'>")
    assert leads_to("def f(a):\n    raise ValueError(a)", "def f(a):\n    raise BadThing(a)", hints)


def test_different_strings_in_an_assertion_are_offered_for_constants() -> None:
    hints = read_hints("", "E       AssertionError: assert '3 dayz' == '3 days'")
    assert leads_to("def f(a):\n    return a + ' dayz'", "def f(a):\n    return a + ' days'", hints)


def test_each_candidate_is_one_edit_away_and_can_be_taken_back() -> None:
    lines = textwrap.dedent(
        '''
        def g(a, b):
            """Say é."""
            if a < b:
                return a
            return a

        def f(a, b):
            x = "é" if a < b else "è"
            return h(
                a,
                b + 1,
            )
        '''
    ).strip("\n").split("\n")  # fmt: skip
    content = ("\n".join(lines) + "\n").encode()
    fragments = [Fragment("a.py", 1, lines[:5]), Fragment("a.py", 7, lines[6:])]
    tried = 0
    for candidate in candidates(fragments, Hints()):
        fragment = next(f for f in fragments if f.first <= candidate.first <= f.last)
        there = search_replace(fragment, fragments, None, candidate)
        back = search_replace(fragment, fragments, candidate, None)
        assert there and back
        changed = replace_lines(content, *there).content
        assert changed != content
        assert replace_lines(changed, *back).content == content
        tried += 1
    assert tried > 20


def test_source_that_does_not_parse_gives_no_candidates() -> None:
    assert candidates([Fragment("a.py", 1, ["def f(:", "    ("])], Hints()) == []
    assert candidates([Fragment("a.py", 1, ["x = " + "(" * 5000 + ")" * 5000])], Hints()) == []
    assert candidates([Fragment("a.py", 1, ["\0"])], Hints()) == []
