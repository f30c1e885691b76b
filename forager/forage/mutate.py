"""Bugs made by changing one place of a source file: every place there is, and a fair sample of them.

Text in, text out: nothing of the package is imported or run here. Files are parsed and compiled, never executed.
"""

from __future__ import annotations

import ast
import random
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import CodeType
from typing import Any

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper

from forager.forage import scope
from forager.forage.operators import OPERATORS, Operator, Site
from forager.records import Record

Operators = Mapping[str, Sequence[Operator]]
"""Rules by the operator's name."""

DEEPEST = 100
"""Levels of nesting; deeper source is generated or hostile, and could exhaust a recursive parser's stack."""


class Mutant(Record, frozen=True):
    """One changed place: bytes `start` to `end` of the clean file become `text`."""

    operator: str
    file: str
    """Relative to the repository's root, with forward slashes."""
    function: str
    """Qualified name of the function or class it is in; empty at module level."""
    line: int
    """Where the change begins in the clean file, from 1."""
    start: int
    end: int
    text: str

    def apply(self, source: bytes) -> bytes:
        """The mutated file, for the clean one."""
        return source[: self.start] + self.text.encode() + source[self.end :]


def apply_all(mutants: Iterable[Mutant], sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files that mutants change, with all of them in. No two may overlap; see `overlap`."""
    files: dict[str, bytes] = {}
    for mutant in sorted(mutants, key=lambda m: (m.start, m.end), reverse=True):
        files[mutant.file] = mutant.apply(files.get(mutant.file, sources[mutant.file]))
    return files


def overlap(first: Iterable[Mutant], second: Iterable[Mutant]) -> bool:
    """Whether any of the first and any of the second touch the same or adjoining text."""
    return any(a.file == b.file and a.start <= b.end and b.start <= a.end for b in second for a in first)


def sites(file: str, source: bytes, operators: Operators = OPERATORS) -> list[Mutant]:
    """Every mutant of one file, in the order of the source. None for a file that is not sound UTF-8 Python 3."""
    if source.startswith(b"\xef\xbb\xbf") or fingerprint(source) is None or depth(source) > DEEPEST:
        return []
    try:
        module = cst.parse_module(source.decode())
    except (cst.ParserSyntaxError, RecursionError):
        return []
    if module.code.encode() != source:
        return []
    return _Walk(file, source, module, operators).mutants


def all_sites(sources: Mapping[str, bytes], operators: Operators = OPERATORS) -> list[Mutant]:
    """Every mutant of every file, files in the order of their paths."""
    return [mutant for file in sorted(sources) for mutant in sites(file, sources[file], operators)]


def sample(mutants: Iterable[Mutant], sources: Mapping[str, bytes], seed: str) -> Iterator[Mutant]:
    """The mutants in the order to try them: each stretch of it spreads over operators, functions and files.

    The order depends on `seed` and the sources alone. Mutants that do not compile, that compile to the same code
    as the clean file, or to the same code as an earlier one, are left out, each when its turn comes.
    """
    chance = random.Random(seed)
    strata: dict[str, dict[tuple[str, str], list[Mutant]]] = defaultdict(lambda: defaultdict(list))
    for mutant in mutants:
        strata[mutant.operator][mutant.file, mutant.function].append(mutant)
    order = sorted(strata)
    chance.shuffle(order)
    for operator in order:
        functions = sorted(strata[operator].items())
        chance.shuffle(functions)
        for _, members in functions:
            chance.shuffle(members)
        strata[operator] = dict(functions)
    seen = {file: {fingerprint(source)} for file, source in sources.items()}
    by_function: Counter[tuple[str, str]] = Counter()
    by_file: Counter[str] = Counter()
    while strata:
        for operator in order:
            functions_left = strata.get(operator)
            while functions_left:
                # the first of the least used: the shuffled order breaks ties
                key = min(functions_left, key=lambda f: (by_function[f], by_file[f[0]]))
                mutant = functions_left[key].pop()
                if not functions_left[key]:
                    del functions_left[key]
                code = fingerprint(mutant.apply(sources[mutant.file]))
                if code is not None and code not in seen[mutant.file]:
                    seen[mutant.file].add(code)
                    by_function[key] += 1
                    by_file[mutant.file] += 1
                    yield mutant
                    break
            if not functions_left:
                strata.pop(operator, None)


class _Walk:
    """One pass over a module: calls every operator at every node that may be mutated."""

    def __init__(self, file: str, source: bytes, module: cst.Module, operators: Operators) -> None:
        self.mutants: list[Mutant] = []
        self._file = file
        wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
        self._site = Site(source, wrapper.resolve(ByteSpanPositionProvider), [])
        self._names: list[str] = []
        self._rules: dict[type[cst.CSTNode], list[Operator]] = defaultdict(list)
        for rules in operators.values():
            for rule in rules:
                for kind in rule.kinds:
                    self._rules[kind].append(rule)
        self._visit(module)
        self.mutants.sort(key=lambda m: (m.start, m.end, m.operator, m.text))

    def _visit(self, node: cst.CSTNode) -> None:
        site = self._site
        text = "" if isinstance(node, cst.Module) else site.text(node)
        if scope.barred(node, text):
            return
        if scope.platform_switch(node, text):
            children: list[cst.CSTNode] = [node.orelse] if isinstance(node, cst.If) and node.orelse else []
        else:
            children = list(scope.inner(node))
            for rule in self._rules.get(type(node), ()):
                self._add(rule, node)
        named = isinstance(node, cst.FunctionDef | cst.ClassDef)
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._names.append(node.name.value)
        site.parents.append(node)
        for child in children:
            self._visit(child)
        site.parents.pop()
        if named:
            self._names.pop()

    def _add(self, rule: Operator, node: cst.CSTNode) -> None:
        source = self._site.source
        inner = [node.name.value] if rule.inside and isinstance(node, cst.FunctionDef) else []
        for change in rule.rule(node, self._site):
            self.mutants.append(
                Mutant(
                    operator=rule.name,
                    file=self._file,
                    function=".".join([*self._names, *inner]),
                    line=source.count(b"\n", 0, change.start) + 1,
                    start=change.start,
                    end=change.end,
                    text=change.text,
                )
            )


def depth(source: bytes) -> int:
    """Levels of the syntax tree, counted without recursion."""
    levels = 0
    level: list[ast.AST] = [ast.parse(source)]
    while level:
        levels += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return levels


def fingerprint(source: bytes) -> Any:
    """What the source compiles to, line numbers left out; None if it does not compile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _code(compile(source, "", "exec", dont_inherit=True, optimize=0))
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return None


def _code(code: CodeType) -> Any:
    constants = tuple(
        _code(c) if isinstance(c, CodeType) else (type(c).__name__, _constant(c)) for c in code.co_consts
    )
    shape = (code.co_name, code.co_flags, code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return hash((shape, names, constants, code.co_code, code.co_exceptiontable))


def _constant(constant: object) -> object:
    """`repr` tells 1 from True and 0.0 from -0.0; a set has no order of its own."""
    return tuple(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)
