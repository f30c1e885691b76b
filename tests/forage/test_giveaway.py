"""What a report by a model must not tell: the place of a bug, or what it is."""

from __future__ import annotations

import pytest

from forager.forage.giveaway import Secrets, functions_in, giveaway

DIFF = """diff --git a/src/pkg/core.py b/src/pkg/core.py
--- a/src/pkg/core.py
+++ b/src/pkg/core.py
@@ -10,4 +10,4 @@
 def _group(digits, max_width):
     widths = [len(digit) for digit in digits]
-    if offset < max_width:
+    if offset <= max_width:
         return digits
"""
SECRETS = Secrets(
    files=("src/pkg/core.py",),
    functions=("_group",),
    diff=DIFF,
    shown="pkg\nassert pkg.number(1000, width=3) == '1,000'\nnumber(1000, width=3)\n'1000'\n'1,000'",
    tests=("tests/test_core.py::test_number[1000]",),
)
GOOD = """# A thousand has no separator

I call `pkg.number(1000, width=3)`, and `'1000'` comes instead of `'1,000'`:

```python
>>> import pkg
>>> pkg.number(1000, width=3)
'1000'
```

Smaller numbers are right: an offset in the width or the digits, maybe? It is so with `None`, too.
"""


def test_what_the_tests_show_may_be_told() -> None:
    assert giveaway(GOOD, SECRETS) == ""


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("It is in core.py.", "the file core.py"),
        ("See `src/pkg/core`.", "the file src/pkg/core.py"),
        ("Look at line 12.", "a line"),
        ("Look at L12.", "a line"),
        ("The helper `_group` is wrong.", "the function _group"),
        ("pkg._group(1) is wrong.", "the function _group"),
        ("It has to do with max_width.", "names max_width"),
        ("The variable `offset` is one too large.", "names offset"),
        ("```python\nif offset > 3: ...\n```", "names offset"),
        ("It says `<=` there.", "the operator <="),
        ("It must be `<`.", "the operator <"),
        ("It says if offset <= max_width:", "max_width"),
        ("It has `offset <= m` in it.", "quotes code of the changed lines"),
        ("It has `len(digit) for digit in` in it.", "quotes code beside the changed lines"),
        ("test_number shows it.", "the test test_number"),
        ("A mutation was made here.", "was made"),
        ("The bug was injected.", "was made"),
        ("It looks like an off-by-one.", "speaks of the code"),
        ("The comparison is strict where it should not be.", "speaks of the code"),
        ("There is an inverted condition somewhere.", "speaks of the code"),
    ],
)
def test_what_gives_it_away(said: str, reason: str) -> None:
    assert reason in giveaway(f"{GOOD}\n{said}\n", SECRETS)


def test_functions_that_a_diff_shows_it_is_in() -> None:
    diff = "@@ -1,2 +1,2 @@ def outer(a):\n x\n-def old():\n+async def new():\n def near(b):\n"
    assert functions_in(diff) == ("outer", "old", "new", "near")
