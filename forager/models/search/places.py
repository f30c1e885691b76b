"""Changes to what is taken from where: indexes and slices."""

from __future__ import annotations

import ast

from forager.models.search.changes import Changes, short


class Places(Changes):
    def on_Subscript(self, node: ast.Subscript) -> None:
        index = node.slice
        if isinstance(index, ast.Slice):
            self._slice(index, self.fragment.text(node.value))
        elif isinstance(index, ast.Constant) and index.value == 0:
            self.put(index, "-1", "index", 0.8, "take the last item instead of the first")
        elif isinstance(index, ast.UnaryOp) and self.fragment.text(index) == "-1":
            self.put(index, "0", "index", 0.8, "take the first item instead of the last")
            self.put(index, "-2", "index", 0.4, "take the item before the last")
        elif isinstance(index, ast.Name | ast.BinOp | ast.Attribute):
            self.off_by_one(index, 0.35)

    def _slice(self, node: ast.Slice, value: str) -> None:
        text = {
            part: self.fragment.text(n) if (n := getattr(node, part)) else "" for part in ("lower", "upper", "step")
        }

        def put(weight: float, remark: str, **parts: str) -> None:
            new = {**text, **parts}
            joined = f"{new['lower']}:{new['upper']}" + (f":{new['step']}" if new["step"] else "")
            self.put(node, joined, "slice", weight, remark)

        whose = f"`{short(value)}[...]`"
        for part in ("lower", "upper"):
            if not text[part]:
                continue
            put(0.25, f"leave the {part} bound of {whose} open", **{part: ""})
            if not text[part].lstrip("-").isdigit():
                put(0.5, f"move the {part} bound of {whose} up by one", **{part: f"{text[part]} + 1"})
                put(0.5, f"move the {part} bound of {whose} down by one", **{part: f"{text[part]} - 1"})
                put(0.2, f"count the {part} bound of {whose} from the end", **{part: f"-{text[part]}"})
            else:
                number = int(text[part])
                for new in (number + 1, number - 1, -number):
                    put(0.6, f"use {new} as the {part} bound of {whose}", **{part: str(new)})
        if text["lower"] and not text["upper"]:
            put(0.6, f"make the bound of {whose} its end", lower="", upper=text["lower"])
        if text["upper"] and not text["lower"]:
            put(0.6, f"make the bound of {whose} its start", lower=text["upper"], upper="")
            put(0.5, f"start {whose} at 1", lower="1")
        if not text["upper"]:
            put(0.5, f"end {whose} before its last item", upper="-1")
        if not text["lower"] and not text["upper"]:
            put(0.5, f"start {whose} at 1", lower="1")
            for name in self.local[:6]:
                put(0.3, f"start {whose} at `{name}`", lower=name)
                put(0.3, f"end {whose} at `{name}`", upper=name)
        elif not text["upper"]:
            for name in self.local[:6]:
                put(0.15, f"end {whose} at `{name}`", upper=name)
        elif not text["lower"]:
            for name in self.local[:6]:
                put(0.15, f"start {whose} at `{name}`", lower=name)
        if text["step"]:
            put(0.3, f"take every item of {whose}", step="")
            put(
                0.3,
                f"turn {whose} round",
                step=text["step"][1:] if text["step"][:1] == "-" else "-" + text["step"],
            )
