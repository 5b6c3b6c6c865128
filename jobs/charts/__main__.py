"""Reads a ``Drawing`` as JSON from standard input and writes a PNG to standard output."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from domain.language import Language
from domain.report import Bar, Drawing, Report
from jobs.charts import NO_MATPLOTLIB

_COLOURS = {"days": "#5865F2", "members": "#57A55A", "models": "#C27C0E", "money": "#992D22", "budgets": "#992D22"}

USUAL: Final = "DejaVu Sans"
"""Comes with matplotlib, and has the letters of all European languages."""
FAMILIES: Final[Mapping[Language, Sequence[str]]] = {
    Language.CHINESE: (
        "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Zen Hei",
        "WenQuanYi Micro Hei", "Noto Sans CJK JP", "Droid Sans Fallback", "Microsoft YaHei", "PingFang SC",
    ),
    Language.JAPANESE: (
        "Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans JP", "Source Han Sans", "IPAexGothic", "IPAGothic",
        "TakaoPGothic", "VL Gothic", "Droid Sans Fallback", "Yu Gothic", "Hiragino Sans",
    ),
}  # fmt: skip
"""Fonts with a language's letters, the best first: those of Linux distributions (Debian: fonts-noto-cjk), then of
other systems. A font for the other of the two draws some characters in another shape, which reads better than boxes."""


def readable(drawing: Drawing) -> tuple[Report, list[str]]:
    """The report with the fonts to draw it with: in English where none that is installed has the language's letters."""
    families = FAMILIES.get(drawing.report.language)
    if families is None:
        return drawing.report, [USUAL]
    installed = _installed(families)
    if installed is None:
        return drawing.in_english, [USUAL]
    return drawing.report, [installed, USUAL]


def _installed(families: Sequence[str]) -> str | None:
    from matplotlib import font_manager

    def found() -> str | None:
        names = {entry.name for entry in font_manager.fontManager.ttflist}
        return next((family for family in families if family in names), None)

    family = found()
    if family is None:
        # matplotlib remembers which fonts there are; one that came since is looked at now.
        known = {entry.fname for entry in font_manager.fontManager.ttflist}
        for path in sorted(set(font_manager.findSystemFonts()) - known):
            with contextlib.suppress(OSError, RuntimeError):  # no font that matplotlib can draw with
                font_manager.fontManager.addfont(path)
        family = found()
    return family


def figure_of(drawing: Drawing) -> Any:
    """The charts as a matplotlib Figure. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    report, fonts = readable(drawing)

    def number(value: float, _place: object = None) -> str:
        return f"{value:g}".replace(".", report.decimal)

    headings = report.headings
    panels = [
        ("days", headings.days, report.days),
        ("members", headings.members, report.members),
        ("models", headings.models, report.models),
        ("money", headings.money, report.money),
        ("budgets", headings.budgets, _shares(report)),
    ]
    shown = [panel for panel in panels if panel[2]]
    options = {"text.parse_math": False, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    matplotlib.rcParams.update({**options, "font.family": fonts})
    figure = Figure(figsize=(9, 2.6 * len(shown) + 0.5), dpi=110, layout="constrained")
    figure.suptitle(report.title)
    axes = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for ax, (name, title, bars) in zip(axes, shown, strict=True):
        ax.set_title(title, loc="left")
        values, places = [bar.value for bar in bars], range(len(bars))
        upright = name in ("days", "money")
        if upright:
            ax.bar(places, values, color=_COLOURS[name])
            every = max(1, len(bars) // 10)
            ax.set_xticks(list(places)[::every], [bar.label for bar in bars][::every])
            ax.set_ylim(bottom=0)
        else:
            ax.barh(places, values, color=_COLOURS[name])
            ax.set_yticks(list(places), [bar.label for bar in bars])
            ax.invert_yaxis()
            ax.bar_label(ax.containers[0], fmt=number, padding=3)
        if name == "budgets":
            ax.set_xlim(0, max(105.0, *values))
            ax.axvline(100, color="black", linestyle="--")
        amounts = ax.yaxis if upright else ax.xaxis
        amounts.set_major_formatter(FuncFormatter(number))
        if name not in ("money", "budgets"):
            amounts.set_major_locator(MaxNLocator(integer=True))
    return figure


def _shares(report: Report) -> tuple[Bar, ...]:
    return tuple(
        Bar(label=label, value=round(100 * used / allowed, 1) if allowed else 100.0)
        for label, used, allowed in report.budgets
    )


def main() -> int:
    """Exit status 0, or NO_MATPLOTLIB."""
    drawing = Drawing.model_validate_json(sys.stdin.buffer.read())
    try:
        figure = figure_of(drawing)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("matplotlib"):
            raise
        return NO_MATPLOTLIB
    figure.savefig(sys.stdout.buffer, format="png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
