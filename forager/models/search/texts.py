"""Changes to texts: separators, and the formats of f-strings and `%`."""

from __future__ import annotations

import ast
import re

from forager.models.search.changes import Changes, short

_SEPARATORS = ("-", "_", " ", ",", ";", ".", ":", "/", "\\n", "")
_NEAR = {"_": "-", "-": "_", ";": ",:", ",": ".;", " ": ("\\n", "", "_"), "": (" ",), ".": ",", ":": ";"}
_FIELD = re.compile(r"(?<!{){([^{}:!]+)(![rsa])?(:[^{}]*)?}(?!})")
_PERCENT = re.compile(r"%([-0-9.#+ ]*)([rsdfx])")


class Texts(Changes):
    def on_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str):
            return
        text = self.fragment.text(node)
        quote, inner = text[-1:], text[1:-1]
        if text[:1] == quote and inner in _SEPARATORS:
            for other in _SEPARATORS:
                if other != inner:
                    weight = 0.8 if other in _NEAR.get(inner, ()) else 0.15
                    self.put(node, quote + other + quote, "string", weight, f"use {quote}{other}{quote}")
        if "\n" not in text:
            for match in _PERCENT.finditer(text):
                others = {"r": ("s",), "s": ("r",), "d": ("02d", "s"), "f": (".1f", ".2f")}.get(match[2], ())
                for other in others if not match[1] else ():
                    new = f"{text[: match.start()]}%{other}{text[match.end() :]}"
                    self.put(node, new, "format", 1.0, f"format with `%{other}` instead of `{match[0]}`")

    def on_JoinedStr(self, node: ast.JoinedStr) -> None:
        """The conversion or the format of a field, given or taken away."""
        text = self.fragment.text(node)
        if "\n" in text or '"""' in text:
            return
        for match in _FIELD.finditer(text):
            value, conversion, form = match[1], match[2] or "", match[3] or ""
            fields = [f"{{{value}!r{form}}}" if not conversion else f"{{{value}{form}}}"]
            if not form:
                fields += [f"{{{value}{known}}}" for known in sorted(self.formats())]
            for field in fields:
                new = text[: match.start()] + field + text[match.end() :]
                self.put(node, new, "format", 1.0 if "!" in match[0] + field else 0.5, f"write `{short(field)}`")

    def formats(self) -> set[str]:
        """Formats of fields elsewhere in what was read of the file."""
        return {
            form for line in self.fragment.lines for _, _, form in _FIELD.findall(line) if form and " " not in form
        }
