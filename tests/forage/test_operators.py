"""Each operator: which changes it makes of real code, and which it leaves alone."""

from __future__ import annotations

import pytest

from forager.forage.mutate import sites


def changed(source: str, operator: str) -> list[str]:
    """The mutated sources that one operator makes, without the unchanged first and last lines of the frame."""
    return [m.apply(source.encode()).decode() for m in sites("pkg/a.py", source.encode()) if m.operator == operator]


@pytest.mark.parametrize(
    ("operator", "source", "expected"),
    [
        ("comparison", "x = a < b\n", ["x = a <= b\n", "x = a >= b\n"]),
        ("comparison", "x = a  not in  b\n", ["x = a  in  b\n"]),
        ("comparison", "x = a is not None\n", ["x = a is None\n"]),
        ("boolean", "x = (a) and b\n", ["x = (a)\n", "x = (a) or b\n", "x = b\n"]),
        ("arithmetic", "x = a + 1\n", ["x = a - 1\n"]),
        ("arithmetic", "x += 1\n", ["x -= 1\n", "x = 1\n"]),
        ("arithmetic", "x = f(-a)\n", ["x = f(a)\n"]),
        ("arithmetic", 'x = a + "text"\n', []),
        ("constant", "x = f(7)\n", ["x = f(6)\n", "x = f(8)\n"]),
        ("constant", "x = 0\n", ["x = 1\n"]),
        ("constant", "x = 0xFF\n", []),
        ("constant", "x = 1.5\n", ["x = 2.5\n"]),
        ("constant", "x = True\n", ["x = False\n"]),
        ("constant", "x = '-'.join(y)\n", ["x = '_'.join(y)\n"]),
        ("constant", "x = y['key']\n", ["x = y['ke']\n"]),
        ("constant", "x = 'a text for people'\n", []),
        ("negation", "if a:\n    pass\n", ["if not a:\n    pass\n"]),
        ("negation", "if (a or\n    b):\n    pass\n", ["if not (a or\n    b):\n    pass\n"]),
        ("negation", "if a or b: x()\n", ["if not (a or b): x()\n"]),
        ("negation", "x = not (a or b)\n", ["x = (a or b)\n"]),
        ("return", "def f():\n    return a, b\n", ["def f():\n    return None\n", "def f():\n    return b, a\n"]),
        ("return", "def f():\n    return True\n", ["def f():\n    return False\n"]),
        ("return", "def f():\n    return tuple(x)\n", ["def f():\n    return None\n", "def f():\n    return x\n"]),
        ("argument", "f(a, *b, k=c)\n", ["f(*b, k=c)\n", "f(a, *b)\n"]),
        ("argument", "f(a, b)\n", ["f(a)\n", "f(b)\n", "f(b, a)\n"]),
        ("argument", "f(x=a, y=b)\n", ["f(x=a)\n", "f(x=b, y=a)\n", "f(y=b)\n"]),
        ("argument", "isinstance(a, b)\n", []),
        ("argument", "f(a)\n", []),
        ("slice", "x = a[1:]\n", ["x = a[2:]\n", "x = a[:]\n"]),
        ("slice", "x = a[:-1]\n", ["x = a[:-2]\n", "x = a[:]\n"]),
        ("slice", "x = a[::-1]\n", ["x = a[::1]\n"]),
        ("slice", "x = a[0]\n", ["x = a[-1]\n", "x = a[1]\n"]),
        ("slice", "x = a[-1]\n", ["x = a[-2]\n", "x = a[0]\n"]),
        ("slice", "x = a[n - 1]\n", ["x = a[n]\n"]),
        ("slice", "x = a[key]\n", []),
        ("exception", "raise KeyError(x)\n", ["raise IndexError(x)\n", "raise ValueError(x)\n"]),
        (
            "exception",
            "try:\n    f()\nexcept (A, B):\n    g()\n",
            [
                "try:\n    f()\nexcept (A, B):\n    raise\n",
                "try:\n    f()\nexcept A:\n    g()\n",
                "try:\n    f()\nexcept B:\n    g()\n",
            ],
        ),
        ("branch", "x = a if c else b\n", ["x = a\n", "x = b\n", "x = b if c else a\n"]),
        (
            "branch",
            "if a:\n    x = 1  # one\nelse:\n    # two\n    x = 2\n",
            ["if a:\n    x = 2  # one\nelse:\n    # two\n    x = 1\n"],
        ),
        (
            "branch",
            "if a:\n    x()\nelif b:\n    y()\n",
            ["if a:\n    x()\nif b:\n    y()\n"],
        ),
        ("removal", "def f():\n    g()  # why\n    return 1\n", ["def f():\n    return 1\n"]),
        ("removal", "def f():\n    '''Doc.'''\n    g()\n", ["def f():\n    '''Doc.'''\n    pass\n"]),
        ("removal", "def f():\n    x = 1; g()\n", ["def f():\n    x = 1; pass\n"]),
        (
            "removal",
            "def f(a):\n    if a is None:\n        return 0\n    return a\n",
            ["def f(a):\n    return a\n"],
        ),
        ("removal", "def f(self):\n    self.x = 1\n    y = 2\n", ["def f(self):\n    y = 2\n"]),
        ("removal", "x = 1\n", []),
    ],
)
def test_operator_makes_these_changes_and_no_other(operator: str, source: str, expected: list[str]) -> None:
    assert sorted(changed(source, operator)) == sorted(expected)


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring with 1 < 2."""\n',
        "def f(a: list[0] = None) -> tuple[1]: ...\n",
        "__all__ = ['a', 'b']\n",
        "__version__ = '1.2'\nversion = '3'\n",
        "import typing\nif typing.TYPE_CHECKING:\n    x = 1\n",
        "import sys\nif sys.version_info >= (3, 8):\n    x = 1\n",
        "if __name__ == '__main__':\n    main(1, 2)\n",
        "logger.warning('x', 1)\nself._logger.debug('x %s', a + b)\nwarnings.warn('x', stacklevel=2)\n",
        "@overload\ndef f(x=1): return x + 1\n",
        "T = TypeVar('T', bound=x)\n",
        "if a == b:  # pragma: no cover\n    x = 1\n",
        "@cache(maxsize=12)\nclass A(B, key=1): ...\n",
        "from a import b\n",
    ],
)
def test_code_that_no_test_could_tell_apart_is_left_alone(source: str) -> None:
    assert sites("pkg/a.py", source.encode()) == []
