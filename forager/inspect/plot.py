"""Pictures of runs: rates with their intervals, and how steps, tokens, cost and time are spread. Needs matplotlib.

`picture` is for other things, too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forager.errors import UsageError
from forager.files import written_aside
from forager.inspect.stats import percent
from forager.plain import count, one_line

if TYPE_CHECKING:
    from forager.run.report import RunReport, Summary

KINDS = (".png", ".svg")
BINS = 30
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Told apart by colour-blind readers, too (Tol 2021, the bright scheme)."""
SETTINGS: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "font.family": "DejaVu Sans",
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "forager",
}
"""Names of runs and models are plain text: nothing in them is a formula."""

Panel = Callable[[Any, Sequence["Summary"]], None]


def check_plot(path: Path) -> None:
    """Raise `UsageError` now rather than after the reading, when the picture can't be drawn."""
    if path.suffix.lower() not in KINDS:
        raise UsageError(f"--plot {path}: its name has to end with {' or '.join(KINDS)}")
    if find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib, which is not installed: `pip install 'forager[plot]'`")


def draw(summaries: Sequence[Summary], path: Path) -> None:
    """Write a picture of runs. Raises `UsageError` (see `check_plot`), and `UnfitError` when it can't be written."""
    with picture(path, [_of(summaries, panel) for panel in _panels(summaries)]) as figure:
        if len(summaries) > 1:
            figure.legend(*_legend(figure, summaries), loc="outside lower center", ncols=3, frameon=False)
        else:
            report = summaries[0].report
            figure.suptitle(
                f"{one_line(report.run_id, 60)}: {one_line(report.model, 40)}, {report.finished:,} attempts",
                fontsize=11,
            )


@contextmanager
def picture(path: Path, panels: Sequence[Callable[[Any], None]]) -> Iterator[Any]:
    """A figure with these panels, three a line, to be finished in the block; then it is written. Raises as `draw`."""
    check_plot(path)
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    lines = ceil(len(panels) / columns)
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(4.2 * columns, 3.1 * lines + 0.5), layout="constrained", dpi=150)
        FigureCanvasAgg(figure)
        for number, panel in enumerate(panels, 1):
            panel(figure.add_subplot(lines, columns, number))
        yield figure
        kind = path.suffix.lower()[1:]
        with written_aside(path) as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Glyph \d+ ")  # a name's letter that no font has is drawn as a box
            figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _panels(summaries: Sequence[Summary]) -> list[Panel]:
    """What there is something to say about."""
    panels: list[Panel] = []
    if any(summary.report.estimates for summary in summaries):
        panels.append(_rates)
    panels.append(_endings)
    labels = {
        "steps": "steps an attempt",
        "tokens": "tokens an attempt",
        "cost": "US dollars an attempt",
        "seconds": "seconds an attempt",
    }
    for name, label in labels.items():
        if any(summary.values[name] for summary in summaries):
            panels.append(_histogram(name, label))
    if any(summary.report.tools.actions for summary in summaries):
        panels.append(_tools)
    return panels


def _of(summaries: Sequence[Summary], panel: Panel) -> Callable[[Any], None]:
    return lambda axes: panel(axes, summaries)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _legend(figure: Any, summaries: Sequence[Summary]) -> tuple[list[Any], list[str]]:
    from matplotlib.patches import Patch

    patches = [Patch(color=_colour(number)) for number in range(len(summaries))]
    return patches, [f"{one_line(s.report.run_id, 30)} ({one_line(s.report.model, 20)})" for s in summaries]


def _rates(axes: Any, summaries: Sequence[Summary]) -> None:
    """pass@k with 95 % intervals."""
    names = sorted({k for summary in summaries for k in summary.report.estimates}, key=int)
    width = 0.7 / len(summaries)
    for number, summary in enumerate(summaries):
        found = [
            (place, summary.report.estimates[k]) for place, k in enumerate(names) if k in summary.report.estimates
        ]
        if not found:
            continue
        places = [place + (number - (len(summaries) - 1) / 2) * width for place, _ in found]
        values = [100 * one.value for _, one in found]
        reach = [
            [100 * (one.value - one.low) for _, one in found],
            [100 * (one.high - one.value) for _, one in found],
        ]
        axes.bar(places, values, 0.92 * width, color=_colour(number))
        axes.errorbar(places, values, yerr=reach, fmt="none", ecolor="#333333", capsize=3, elinewidth=1)
        if len(summaries) == 1:
            for place, (_, one) in zip(places, found, strict=True):
                axes.annotate(percent(one.value), (place, 100 * one.high), (0, 3), textcoords="offset points",
                              ha="center", fontsize=8)  # fmt: skip
    axes.set_xticks(range(len(names)), [f"pass@{k}" for k in names])
    axes.set_ylim(0, 109)
    axes.set_yticks(range(0, 101, 20))
    axes.set_title("resolved, with 95 % intervals")
    axes.set_ylabel("% of tasks")


def _endings(axes: Any, summaries: Sequence[Summary]) -> None:
    _shares(axes, summaries, "how attempts ended", lambda report: report.by_status, lambda report: report.finished)


def _tools(axes: Any, summaries: Sequence[Summary]) -> None:
    _shares(axes, summaries, "tools", lambda report: report.tools.actions, lambda report: report.total.steps)


def _shares(
    axes: Any,
    summaries: Sequence[Summary],
    title: str,
    numbers: Callable[[RunReport], dict[str, int]],
    of: Callable[[RunReport], int],
) -> None:
    """Horizontal bars: the share of each name, the largest on top."""
    most: dict[str, float] = {}
    for summary in summaries:
        for name, number in numbers(summary.report).items():
            most[name] = max(most.get(name, 0.0), number / max(1, of(summary.report)))
    names = sorted(most, key=lambda name: (-most[name], name))[:8]
    height = 0.7 / len(summaries)
    for number, summary in enumerate(summaries):
        values = [100 * numbers(summary.report).get(name, 0) / max(1, of(summary.report)) for name in names]
        places = [place + (number - (len(summaries) - 1) / 2) * height for place in range(len(names))]
        axes.barh(places, values, 0.92 * height, color=_colour(number))
    axes.set_yticks(range(len(names)), [one_line(name, 24) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("%")
    axes.set_title(title)


def _histogram(name: str, label: str) -> Panel:
    def panel(axes: Any, summaries: Sequence[Summary]) -> None:
        """How the values of a run are spread; of very long tails, on a logarithmic scale."""
        edges, logarithmic = _edges([value for summary in summaries for value in _ends(summary.values[name])], name)
        single = len(summaries) == 1
        for number, summary in enumerate(summaries):
            values = summary.values[name]
            if not values:
                continue
            counts = _binned(values, edges)
            shares = [100 * number_in / len(values) for number_in in counts]
            axes.stairs(
                shares, edges, color=_colour(number), fill=single, alpha=0.85 if single else 1.0, linewidth=1.4
            )
            if (spread := summary.report.spreads.get(name)) is not None:
                axes.axvline(
                    spread.median, color="#333333" if single else _colour(number), linestyle=":", linewidth=1.2
                )
        if logarithmic:
            axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: _short(value))
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(label)
        axes.set_ylabel("% of attempts")
        axes.set_title(f"{name} (dotted: median)")

    return panel


def _ends(values: Any) -> tuple[float, ...]:
    return (min(values), max(values)) if values else ()


def _edges(ends: list[float], name: str) -> tuple[list[float], bool]:
    """The borders of the bins, and whether they grow by a factor each."""
    low, high = min(ends), max(ends)
    if low > 0 and high / low > 100 and name != "steps":
        factor = (high / low) ** (1 / BINS)
        return [low * factor**number for number in range(BINS)] + [high], True
    if name == "steps" and high - low < BINS:
        return [number - 0.5 for number in range(int(low), int(high) + 2)], False
    if low == high:
        return [0.9 * low, 1.1 * low] if low else [-0.5, 0.5], False
    return [low + (high - low) * number / BINS for number in range(BINS)] + [high], False


def _binned(values: Any, edges: list[float]) -> list[int]:
    from bisect import bisect_right

    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[min(max(bisect_right(edges, value) - 1, 0), len(counts) - 1)] += 1
    return counts


def _short(value: float) -> str:
    if value >= 1000:
        return count(value) if value >= 1e4 else f"{value:,.0f}"
    return f"{value:g}"
