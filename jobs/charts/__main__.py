"""Reads a ``Report`` as JSON from standard input and writes a PNG to standard output."""

import sys

from domain.report import Bar, Report
from jobs.charts import NO_MATPLOTLIB

_COLOURS = {"days": "#5865F2", "members": "#57A55A", "models": "#C27C0E", "money": "#992D22", "budgets": "#992D22"}


def draw(report: Report) -> None:
    """Write the picture to standard output. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"text.parse_math": False, "font.size": 9, "axes.spines.top": False})
    matplotlib.rcParams["axes.spines.right"] = False
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = [
        ("days", "Pictures by day", report.days),
        ("members", "Pictures by member", report.members),
        ("models", "Pictures by model", report.models),
        ("money", "US dollars by day", report.money),
        ("budgets", "Money against budget (%)", _shares(report)),
    ]
    shown = [panel for panel in panels if panel[2]]
    figure = Figure(figsize=(9, 2.6 * len(shown) + 0.5), dpi=110, layout="constrained")
    figure.suptitle(report.title)
    axes = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for ax, (name, title, bars) in zip(axes, shown, strict=True):
        ax.set_title(title, loc="left")
        values, places = [bar.value for bar in bars], range(len(bars))
        if name in ("days", "money"):
            ax.bar(places, values, color=_COLOURS[name])
            every = max(1, len(bars) // 10)
            ax.set_xticks(list(places)[::every], [bar.label for bar in bars][::every])
            ax.set_ylim(bottom=0)
        else:
            ax.barh(places, values, color=_COLOURS[name])
            ax.set_yticks(list(places), [bar.label for bar in bars])
            ax.invert_yaxis()
            ax.bar_label(ax.containers[0], fmt="%g", padding=3)
        if name == "budgets":
            ax.set_xlim(0, max(105.0, *values))
            ax.axvline(100, color="black", linestyle="--")
        elif name != "money":
            (ax.yaxis if name == "days" else ax.xaxis).set_major_locator(MaxNLocator(integer=True))
    figure.savefig(sys.stdout.buffer, format="png")


def _shares(report: Report) -> tuple[Bar, ...]:
    return tuple(
        Bar(label=label, value=round(100 * used / allowed, 1) if allowed else 100.0)
        for label, used, allowed in report.budgets
    )


def main() -> int:
    """Exit status 0, or NO_MATPLOTLIB."""
    report = Report.model_validate_json(sys.stdin.buffer.read())
    try:
        draw(report)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("matplotlib"):
            raise
        return NO_MATPLOTLIB
    return 0


if __name__ == "__main__":
    sys.exit(main())
