"""A picture of a set of tasks: where they come from, which bugs, how large, how hard. Needs matplotlib."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from forager.inspect.plot import COLOURS, picture
from forager.inspect.task_set import NOT_TRIED, SetReport, SetSummary
from forager.plain import one_line

ROWS = 14
"""Bars of a panel; the rest are one bar together."""


def draw_set(summary: SetSummary, path: Path) -> None:
    """Write a picture of a set. Raises `UsageError` (see `check_plot`), and `UnfitError` when it can't be written."""
    report = summary.report
    with picture(path, _panels(report, summary.values)) as figure:
        figure.suptitle(f"{one_line(report.name, 60)}: {report.tasks:,} tasks", fontsize=11)


def _panels(report: SetReport, values: Mapping[str, Sequence[float]]) -> list[Callable[[Any], None]]:
    """What there is something to say about."""
    repositories = {name.removeprefix("pypi:"): group.tasks for name, group in report.by_repository.items()}
    panels = [_bars("repository", _largest(repositories))]
    if len(report.by_source) > 1:
        panels.append(_bars("source", _largest({name: group.tasks for name, group in report.by_source.items()})))
    if report.by_operator:
        families: Counter[str] = Counter()
        for operator in report.by_operator.values():
            families[operator.family] += operator.tasks
        operators = {name: operator.tasks for name, operator in report.by_operator.items()}
        panels += [_bars("family of operators", _largest(families)), _bars("operator", _largest(operators))]
    panels.append(_bars("failing tests a task", _doubling(values["failing_tests"])))
    panels.append(_bars("lines of the patch", _doubling(values["patch_lines"])))
    if sum(report.difficulty.values()) > report.difficulty[NOT_TRIED]:
        rows = {name: number for name, number in report.difficulty.items() if name != NOT_TRIED}
        panels.append(_bars("difficulty", _Rows(rows, NOT_TRIED, report.difficulty[NOT_TRIED])))
    else:
        panels.append(_bars("words of the statement", _doubling(values["statement_words"])))
    return panels


class _Rows(NamedTuple):
    """Bars from top to bottom, and a grey one below them."""

    bars: Mapping[str, int]
    rest: str = ""
    number: int = 0


def _largest(numbers: Mapping[str, int]) -> _Rows:
    order = sorted((name for name in numbers if numbers[name]), key=lambda name: (-numbers[name], name))
    rest = order[ROWS:]
    return _Rows({n: numbers[n] for n in order[:ROWS]}, f"{len(rest)} more", sum(numbers[name] for name in rest))


def _doubling(values: Sequence[float]) -> _Rows:
    """How whole numbers are spread: 0, 1, 2, 3 to 4, 5 to 8 and so on, from the first to the last used."""
    classes = Counter((int(value) - 1).bit_length() + 1 if value >= 1 else 0 for value in values)
    used = range(min(classes, default=0), max(classes, default=0) + 1)
    return _Rows({_class(number): classes[number] for number in used})


def _class(number: int) -> str:
    if number < 3:
        return str(number)
    return f"{2 ** (number - 2) + 1} to {2 ** (number - 1)}"


def _bars(title: str, rows: _Rows) -> Callable[[Any], None]:
    """Horizontal bars of tasks, with their numbers."""

    def panel(axes: Any) -> None:
        shown = [(one_line(name, 26), number, COLOURS[0]) for name, number in rows.bars.items()]
        shown += [(rows.rest, rows.number, COLOURS[6])] if rows.number else []
        names, numbers, colours = zip(*shown, strict=True)
        axes.bar_label(axes.barh(range(len(shown)), numbers, 0.7, color=colours), padding=2, fontsize=7)
        axes.set_yticks(range(len(shown)), names)
        axes.set_ylim(max(len(shown), 4) - 0.4, -0.6)
        axes.margins(x=0.12)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("tasks")
        axes.set_title(title)

    return panel
