"""What a definition may have lost: a decorator, the call of the base class's method, an import."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from forager.models.search import syntax
from forager.models.search.hints import Hints
from forager.models.search.known import Known
from forager.models.search.source import Fragment
from forager.models.search.statements import Lines
from forager.models.search.syntax import Function


class Definitions(Lines):
    def __init__(self, fragment: Fragment, node: Function, hints: Hints, known: Known) -> None:
        super().__init__(fragment, node, hints)
        self.known = known
        self.owner = known.owners.get(id(node))
        self._decorators()
        self._super()

    def _decorators(self) -> None:
        """Those of other functions that were read, and those of methods."""
        own = [self.fragment.text(d) for d in self.node.decorator_list]
        accused = 1.0 if self.node.name in self.hints.called else 0.35
        first = self.node.args.args[0].arg if self.node.args.args else ""
        likely: dict[str, float] = {}
        if self.owner:
            likely |= {"staticmethod": 0.2 if first in ("self", "cls") else 1.5,
                       "classmethod": 1.5 if first == "cls" else 0.1}  # fmt: skip
            if first == "self" and len(self.node.args.args) == 1:
                likely["property"] = 0.8
        common = sorted(self.known.decorators.items(), key=lambda pair: (-pair[1], pair[0]))
        for rank, (text, _) in enumerate(common[:8]):
            if not text.endswith((".setter", ".getter", ".deleter")):
                likely.setdefault(text, 0.8 / (1 + 0.3 * rank))
        if syntax.is_generator(self.node):
            likely["contextmanager"] = likely["contextlib.contextmanager"] = 0.2
        for text, weight in likely.items():
            if not own:
                line = self.fragment.line(self.node.lineno)
                indent = line[: len(line) - len(line.lstrip())]
                change = (indent + "@" + text, line)
                remark = f"decorate `{self.node.name}` with `@{text}`"
                self.changes.append(
                    (self.node.lineno, self.node.lineno, change, "decorator", weight * accused, remark)
                )
        for node, text in zip(self.node.decorator_list, own, strict=True):
            swapped = {"classmethod": "staticmethod", "staticmethod": "classmethod"}.get(text)
            if swapped:
                lines = self.fragment.replaced(self.fragment.span(node), swapped)
                remark = f"make `{self.node.name}` a `{swapped}`"
                self.changes.append((node.lineno, node.lineno, lines, "decorator", 1.0, remark))

    def _super(self) -> None:
        """The base class's method is not called, where there is a base class."""
        called = any(isinstance(n, ast.Name) and n.id == "super" for n in ast.walk(self.node))
        if (
            called
            or not syntax.is_method(self.node)
            or (self.owner and not self.owner.bases)
            or self.node.decorator_list
        ):
            return
        arguments = self.node.args
        names = [a.arg for a in arguments.args[1:]]
        stars = [f"*{arguments.vararg.arg}"] if arguments.vararg else []
        stars += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
        given = [names + stars, names[:1], names[:2], names[:1] + stars, stars, []]
        first = self.node.name == "__init__"
        sure = (1.0 if first else 0.25) * (1.0 if self.owner else 0.5)
        sure *= 2.0 if set(names) & set(self.names.unused) else 1.0
        for rank, parts in enumerate(dict.fromkeys(map(tuple, given))):
            text = f"super().{self.node.name}({', '.join(parts)})"
            weight = sure / (1 + 0.25 * rank)
            self.insert(self.opening(), text, "super", weight, after=False)
            if not first:
                self.insert(self.node.body[-1], text, "super", weight * 0.4)
            for node in syntax.inside(self.node):
                if isinstance(node, ast.Assign | ast.Return) and node.value:
                    old, value = self.fragment.text(node), self.fragment.text(node.value)
                    if value == "None" or value in names:
                        self.replace(node, old.removesuffix(value) + text, "super", weight)


def missing_imports(
    fragment: Fragment, tree: ast.Module, hints: Hints, known: Known
) -> Iterator[tuple[int, int, tuple[str, ...], str]]:
    """Imports of names that a NameError names, beside the first other import: as elsewhere, or as a module."""
    if fragment.first != 1 or not hints.missing_names:
        return
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    bound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    imports: list[ast.stmt] = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    future = bool(imports) and isinstance(imports[0], ast.ImportFrom) and imports[0].module == "__future__"
    number = syntax.end([*imports[: 1 + future], *tree.body[:1]][future if len(imports) > 1 else 0])
    for name in sorted((hints.missing_names & used) - bound):
        for text in dict.fromkeys([*known.imports.get(name, ()), f"import {name}"]):
            yield number, number, (fragment.line(number), text), f"add `{text}`"
