"""Changes to what a function returns: its own names, constants, and what functions like it return."""

from __future__ import annotations

import ast
import re
from difflib import SequenceMatcher

from forager.models.search import syntax
from forager.models.search.hints import Hints
from forager.models.search.known import Known
from forager.models.search.source import Fragment
from forager.models.search.statements import Lines
from forager.models.search.syntax import Function

_CONSTANTS = {"True": 0.4, "False": 0.4, "[]": 0.1, "''": 0.1, "0": 0.1, "{}": 0.05}
DONORS = 12


class Returns(Lines):
    def __init__(
        self,
        fragment: Fragment,
        node: Function,
        hints: Hints,
        known: Known,
    ) -> None:
        super().__init__(fragment, node, hints)
        self.attributes = known.own_attributes(node)
        donors = known.results
        returns = [n for n in syntax.inside(node) if isinstance(n, ast.Return)]
        for statement in returns:
            if statement.value is None or isinstance(statement.value, ast.Constant):
                self._values(statement, donors)
            else:
                self._altered(statement, statement.value)
        last = node.body[-1]
        if not syntax.is_generator(node) and syntax.falls_through(node.body) and node.name != "__init__":
            weight = 0.9 if any(n.value for n in returns) or hints.none or not returns else 0.2
            for rank, name in enumerate(self.names.results()[:5]):
                self.insert(last, f"return {name}", "return", weight / (1 + rank))
            if syntax.is_method(node):
                self.insert(last, "return self", "return", weight / 3)
                self.insert(last, "return NotImplemented", "return", weight / 8)
            for text in ("True", "False"):
                self.insert(last, f"return {text}", "return", weight / 4)
            for rank, text in enumerate(self._borrowed(donors)[: DONORS // 2]):
                self.insert(last, f"return {text}", "return", weight / (2 + rank))

    def _values(self, node: ast.Return, donors: list[tuple[Function, str]]) -> None:
        """For a return without a value, or of a constant."""
        unused = set(self.names.unused)
        for rank, name in enumerate(self.names.results()[:10]):
            self.replace(node, f"return {name}", "return", 1.0 if name in unused else 0.6 / (1 + 0.5 * rank))
        if syntax.is_method(self.node):
            self.replace(node, "return self", "return", 0.3)
            for rank, attribute in enumerate(self.attributes):
                self.replace(node, f"return self.{attribute}", "return", 0.5 / (1 + 0.5 * rank))
            self.replace(node, "return NotImplemented", "return", 0.2)
        if node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None):
            for text, weight in _CONSTANTS.items():
                self.replace(node, f"return {text}", "return", weight)
            for rank, text in enumerate(self._borrowed(donors)[:DONORS]):
                self.replace(node, f"return {text}", "return", 0.9 / (1 + 0.25 * rank))
            for name in self.names.results()[:3]:
                for other in self.names.results()[:3]:
                    if name != other:
                        self.replace(node, f"return {name}, {other}", "return", 0.25)
                attributes = {n.attr for n in ast.walk(self.node) if isinstance(n, ast.Attribute)}
                for attribute in sorted(attributes)[:3]:
                    self.replace(node, f"return {name}.{attribute}", "return", 0.1)

    def _altered(self, node: ast.Return, value: ast.expr) -> None:
        text = self.fragment.text(value)
        if not isinstance(value, ast.UnaryOp | ast.Compare | ast.Tuple | ast.List | ast.Dict | ast.JoinedStr):
            wrapped = text if syntax.is_plain(value) else f"({text})"
            self.replace(node, f"return not {wrapped}", "return", 0.35 if self.hints.truth else 0.08)
            self.replace(node, f"return -{wrapped}", "return", 0.4 if self.hints.sign else 0.05)
            for kind in sorted(self.hints.types):
                self.replace(node, f"return {kind}({text})", "return", 0.7)
        for rank, kind in enumerate(("tuple", "list", "str", "bool", "int", "dict", "set", "bytes")):
            if not text.startswith(kind + "("):
                self.replace(node, f"return {kind}({text})", "return", 0.4 / (1 + 0.25 * rank))
        if isinstance(value, ast.Tuple) and len(value.elts) == 2:
            left, right = (self.fragment.text(part) for part in value.elts)
            self.replace(node, f"return {right}, {left}", "unpacking", 1.0)
        if isinstance(value, ast.Name):
            for rank, name in enumerate(n for n in self.names.results() if n != value.id):
                self.replace(node, f"return {name}", "return", 0.15 / (rank + 1))

    def _borrowed(self, donors: list[tuple[Function, str]]) -> list[str]:
        """What other functions return, in this function's names, the most alike first."""
        mine = [a.arg for a in self.node.args.args]
        found: dict[str, float] = {}
        for donor, text in donors:
            if donor is self.node:
                continue
            theirs = [a.arg for a in donor.args.args]
            renamed = text
            for old, new in [(donor.name, self.node.name), *zip(theirs, mine, strict=False)]:
                renamed = re.sub(rf"\b{re.escape(old)}\b", new, renamed)
            try:
                tree = ast.parse(renamed, mode="eval")
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            strange = {a for a in theirs if a not in mine} | set(syntax.Names(donor).bound) - set(theirs)
            if syntax.free_names(tree) & (strange - set(self.names.bound)):
                continue
            uses = len(syntax.free_names(tree) & set(self.names.bound))
            alike = SequenceMatcher(None, donor.name, self.node.name, autojunk=False).ratio()
            alike += 0.5 * (len(theirs) == len(mine)) + 0.2 * min(uses, 2)
            found[renamed] = max(found.get(renamed, 0.0), alike)
        return sorted(found, key=lambda text: (-found[text], text))
