"""Statements borrowed from code that is alike: what stands beside an equal neighbour, below an equal first line."""

from __future__ import annotations

import ast
from difflib import SequenceMatcher
from itertools import pairwise

from forager.models.search import syntax
from forager.models.search.hints import Hints
from forager.models.search.known import Known, header
from forager.models.search.source import Fragment
from forager.models.search.statements import Lines
from forager.models.search.syntax import Function

GUARDS = 4


class Borrowed(Lines):
    def __init__(self, fragment: Fragment, node: Function, hints: Hints, known: Known) -> None:
        super().__init__(fragment, node, hints)
        self.known = known
        self.usable = set(self.names.bound) | self.names.read | {"self", "cls"}
        own = {id(n) for n in ast.walk(node)}
        self._twins(own)
        self._bodies()
        self._guards(own)

    def _twins(self, own: set[int]) -> None:
        """A statement that stands beside an equal neighbour elsewhere, and not here, may have been taken out here."""
        here: dict[str, list[ast.stmt]] = {}
        for node, key in self.known.donors:
            if id(node) in own:
                here.setdefault(key, []).append(node)
        for (before, first), (behind, second) in pairwise(self.known.donors):
            if (first in here) == (second in here) or before.col_offset != behind.col_offset:
                continue
            if not 0 < behind.lineno - syntax.end(before) <= 2:
                continue
            anchor, gone = (first, behind) if first in here else (second, before)
            compound = isinstance(gone, Function | ast.ClassDef | ast.Pass | ast.For | ast.While | ast.Try)
            if compound or not syntax.free_names(gone) <= self.usable:
                continue
            text = ast.unparse(gone)
            for target in here[anchor][:2]:
                if text.count("\n") < 4:
                    self.insert(target, text, "twin", 0.6, after=gone is behind)

    def _bodies(self) -> None:
        """`pass` where something stands below the same first line elsewhere."""
        for node in syntax.inside(self.node):
            if isinstance(node, ast.For | ast.While | ast.If | ast.With) and isinstance(node.body[0], ast.Pass):
                indent = "\n" + " " * node.body[0].col_offset
                for rank, text in enumerate(dict.fromkeys(self.known.bodies[header(node)])):
                    self.replace(node.body[0], text.replace("\n", indent), "twin", 1.5 / (1 + rank))

    def _guards(self, own: set[int]) -> None:
        """Checks that functions alike begin with, and this one does not."""
        found: dict[str, float] = {}
        for donor in self.known.functions:
            if id(donor) in own:
                continue
            alike = SequenceMatcher(None, donor.name, self.node.name, autojunk=False).ratio()
            for statement in donor.body[:4]:
                if not (isinstance(statement, ast.If) and not statement.orelse and len(statement.body) <= 2):
                    continue
                leaves = isinstance(statement.body[-1], ast.Return | ast.Raise)
                if leaves and syntax.free_names(statement) <= self.usable | set(self.known.constants):
                    text = ast.unparse(statement)
                    found[text] = max(found.get(text, 0.0), alike)
        mine = {ast.unparse(n) for n in self.node.body[:6]}
        for text in sorted((t for t in found if t not in mine), key=lambda t: (-found[t], t))[:GUARDS]:
            self.insert(self.opening(), text, "guard", found[text], after=False)
