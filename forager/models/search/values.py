"""Changes to values: numbers, strings, True, False and None, and the names of exceptions."""

from __future__ import annotations

import ast
import re

from forager.models.search.changes import Changes, short

_EXCEPTIONS = {"ValueError": 0.4, "TypeError": 0.4, "KeyError": 0.35, "AttributeError": 0.3, "IndexError": 0.3,
               "StopIteration": 0.2, "Exception": 0.15, "ImportError": 0.1, "NotImplementedError": 0.1,
               "RuntimeError": 0.1, "OSError": 0.1, "UnicodeDecodeError": 0.05, "OverflowError": 0.05}  # fmt: skip


class Values(Changes):
    def on_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.put(node, str(not value), "truth", 1.0, f"use {not value} instead of {value}")
        elif isinstance(value, int):
            self._integer(node, value)
        elif isinstance(value, float):
            for new, weight in (
                (value + 1, 0.7),
                (value - 1, 0.7),
                (value * 2, 0.3),
                (value / 2, 0.3),
                (-value, 0.2),
            ):
                self.put(node, repr(new), "number", weight, f"use {new!r} instead of {value!r}")
        elif isinstance(value, str):
            self._string(node, value)
        elif value is None:
            for name in self.unused[:3]:
                self.put(node, name, "none", 0.5, f"use `{name}` instead of None")
            for text, weight in (("True", 0.15), ("False", 0.15), ("0", 0.05), ("''", 0.05), ("[]", 0.05)):
                self.put(node, text, "none", weight, f"use {text} instead of None")

    def _integer(self, node: ast.Constant, value: int) -> None:
        alternatives = {value - 1: 1.0, value + 1: 1.0}
        for new, weight in ((0, 0.35), (1, 0.35), (-1, 0.2), (2, 0.1), (-value, 0.3)):
            alternatives.setdefault(new, weight)
        if abs(value) > 2:
            for new, weight in ((value * 10, 0.1), (value // 10, 0.1), (value * 2, 0.15), (value // 2, 0.15)):
                alternatives.setdefault(new, weight)
        for text in self.hints.numbers:
            if "." not in text:
                alternatives.setdefault(int(text), 0.12)
        for new, weight in alternatives.items():
            self.put(node, str(new), "number", weight, f"use {new} instead of {self.fragment.text(node)}")

    def _string(self, node: ast.Constant, value: str) -> None:
        text = self.fragment.text(node)
        quote = text[-1:]
        if text[:1] in "fF" or quote not in "'\"" or "\n" in text or len(value) > 200:
            return
        stripped = re.fullmatch(r"XX(.*)XX", value, re.DOTALL)
        if stripped:
            self.put(node, text.replace("XX", ""), "string", 1.0, "drop the placeholder letters")
        for got, want in self.hints.pairs:
            if got and (len(got) > 1 or got == value) and got in value and "\\" not in want and quote not in want:
                self.put(
                    node, text.replace(got, want), "string", 0.8, f"say {short(want)!r} instead of {short(got)!r}"
                )
            elif not got and not value and "\\" not in want and quote not in want:
                self.put(
                    node, quote + want + quote, "string", 0.8, f"use {short(want)!r} instead of the empty string"
                )
        for word in self._spelt(value):
            self.put(node, text.replace(value, word), "string", 0.9, f"say {word!r} instead of {value!r}")
        if value == "":
            self.put(node, quote + " " + quote, "string", 0.3, "use a space instead of the empty string")
        elif len(value) <= 3:
            self.put(node, quote + quote, "string", 0.15, "use the empty string")
        if value.upper() != value.lower():
            for new in (value.lower(), value.upper()):
                if text.count(value) == 1:
                    self.put(node, text.replace(value, new), "string", 0.15, f"write {short(new)!r}")

    def _spelt(self, value: str) -> list[str]:
        """Words that differ from this one by one letter, more or less or another."""
        if not re.fullmatch(r"\w{2,30}", value):
            return []
        near = [w for w in self.words if abs(len(w) - len(value)) <= 1 and w != value and _one_off(w, value)]
        return sorted(near, key=lambda w: (w not in self.hints.words, -len(w), w))[:4]

    def on_Raise(self, node: ast.Raise) -> None:
        target = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        if isinstance(target, ast.Name | ast.Attribute):
            self._exception(target, "raise")
        if isinstance(node.exc, ast.Name) and node.exc.id in self.local:
            return
        if node.exc is None:
            for name in ("pass", "continue", "return False", "return True", "return None", *(
                f"return {name}" for name in self.local[:4])):  # fmt: skip
                self.put(node, name, "raise", 0.5 if self.hints.raised else 0.1, f"do not raise again, `{name}`")

    def on_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            text = self.fragment.text(node.type)
            inner = text[1:-1].rstrip(", ") if isinstance(node.type, ast.Tuple) and text[:1] == "(" else text
            for name in sorted(self.hints.raised):
                if name not in text:
                    self.put(node.type, f"({inner}, {name})", "exception", 0.9, f"catch {name} too")
        if isinstance(node.type, ast.Tuple):
            for item in node.type.elts:
                self._exception(item, "catch")
        elif node.type is not None:
            self._exception(node.type, "catch")

    def _exception(self, node: ast.expr, verb: str) -> None:
        old = self.fragment.text(node)
        likely = dict.fromkeys([*sorted(self.hints.raised | self.hints.not_raised), *self.hints.exceptions], 1.0)
        for name, weight in _EXCEPTIONS.items():
            likely.setdefault(name, weight)
        for name, weight in likely.items():
            if name not in ("AssertionError", "TooSlow"):
                self.put(node, name, "exception", weight, f"{verb} {name} instead of {old}")


def _one_off(a: str, b: str) -> bool:
    """Whether one letter added, left out or replaced leads from one to the other."""
    if len(a) < len(b):
        a, b = b, a
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(b))
    return a[start + 1 :] == (b[start + 1 :] if len(a) == len(b) else b[start:])
