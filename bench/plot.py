#!/usr/bin/python3
"""Draws pictures from what `yoke-bench --json FILE` keeps: throughput against workers, how round trips are distributed,
from a death to its error, and a picture for each curve. What was not measured is not drawn.

Needs Debian's python3-matplotlib.
"""

import argparse
import json
import os
import sys

try:
    import matplotlib
except ImportError:
    sys.exit("plot.py: needs matplotlib (Debian: python3-matplotlib, with /usr/bin/python3)")

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after the choice of a backend without a screen)

OURS = "yoke"


def median(samples):
    ordered = sorted(samples)
    return ordered[len(ordered) // 2]


def spread(samples):
    """Between what half of the samples lie, as in the table."""
    ordered = sorted(samples)
    outside = (len(ordered) - 1) // 4
    return ordered[outside], ordered[-1 - outside]


def width_of(who):
    return 2.2 if who == OURS else 1.2


def quantity_scale(values):
    """Logarithmic where the values span much and are all above zero; near zero linear where they are not."""
    low, high = min(values), max(values)
    if low > 0:
        return {"value": "log"} if high / low > 20 else {"value": "linear"}
    return {"value": "symlog", "linthresh": 1}


def short_number(value):
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g}{letter}"
    return f"{value:g}"


def draw_lines(axes, lines, along):
    for line in lines:
        xs = [point["x"] for point in line["points"]]
        middles = [median(point["samples"]) for point in line["points"]]
        lows, highs = zip(*(spread(point["samples"]) for point in line["points"]))
        (drawn,) = axes.plot(xs, middles, marker="o", markersize=3, linewidth=width_of(line["who"]), label=line["who"])
        axes.fill_between(xs, lows, highs, color=drawn.get_color(), alpha=0.15, linewidth=0)
    measured_at = sorted({point["x"] for line in lines for point in line["points"]})
    axes.set_xscale(**quantity_scale(measured_at))
    axes.set_xticks(measured_at, [short_number(x) for x in measured_at])
    axes.set_xticks([], minor=True)
    axes.set_yscale(**quantity_scale([median(p["samples"]) for line in lines for p in line["points"]]))
    axes.set_xlabel(along)
    axes.set_ylabel(lines[0]["unit"])
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize=7)


def draw_curve(curve):
    """One panel for each unit; lines of one thing alone that differ in their units share a panel's place in a row."""
    units = list(dict.fromkeys(line["unit"] for line in curve["lines"]))
    figure, panels = plt.subplots(1, len(units), figsize=(5.5 * len(units), 4.5), squeeze=False)
    for axes, unit in zip(panels[0], units):
        draw_lines(axes, [line for line in curve["lines"] if line["unit"] == unit], curve["along"])
    figure.suptitle(f"{curve['id']}: {curve['what']}")
    return figure


def figures_of(row):
    """(name, samples) of a row's figures, ours first."""
    return [(figure["who"], figure["samples"]) for figure in [row["ours"], *row["peers"]] if figure["samples"]]


def draw_distributions(title, panels):
    """panels: (title, unit, [(name, samples)]); the share of samples up to each value."""
    figure, all_axes = plt.subplots(1, len(panels), figsize=(5.5 * len(panels), 4.5), squeeze=False)
    for axes, (panel_title, unit, figures) in zip(all_axes[0], panels):
        for who, samples in figures:
            ordered = sorted(samples)
            shares = [(i + 1) / len(ordered) for i in range(len(ordered))]
            axes.step(ordered, shares, where="post", linewidth=width_of(who), label=who)
        axes.set_xscale("log")
        axes.set_xlabel(unit)
        axes.set_ylabel("share of samples")
        axes.set_title(panel_title, fontsize=9)
        axes.grid(True, which="major", alpha=0.3)
        axes.legend(fontsize=7, loc="lower right")
    figure.suptitle(title)
    return figure


def draw_latency(rows):
    panels = [(rows[row]["what"], rows[row]["unit"], figures_of(rows[row])) for row in ("L-hot", "L-asleep") if row in rows]
    return draw_distributions("how round trips are distributed", panels) if panels else None


def draw_deaths(rows):
    """Ours in several states beside each other, and Python's pools beside ours."""
    ours = [(f"{row}: {rows[row]['what']}", rows[row]["ours"]["samples"]) for row in ("S11", "S11b", "S12", "S12b") if row in rows]
    panels = [("yoke", "ms", ours)] if ours else []
    if "S17c" in rows:
        panels.append((rows["S17c"]["what"], rows["S17c"]["unit"], figures_of(rows["S17c"])))
    return draw_distributions("from a worker's SIGKILL", panels) if panels else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("json", help="what yoke-bench --json wrote")
    parser.add_argument("--folder", default=".", help="where the pictures go (default: here)")
    parser.add_argument("--format", default="svg", choices=["svg", "png"])
    arguments = parser.parse_args()
    with open(arguments.json, encoding="utf-8") as file:
        results = json.load(file)
    rows = {row["id"]: row for row in results["rows"]}
    pictures = {"latency": draw_latency(rows), "death": draw_deaths(rows)}
    for curve in results["curves"]:
        name = "throughput" if curve["id"] == "G-workers" else "growth-" + curve["id"].removeprefix("G-")
        pictures[name] = draw_curve(curve)
    os.makedirs(arguments.folder, exist_ok=True)
    drawn = {name: picture for name, picture in pictures.items() if picture}
    if not drawn:
        sys.exit(f"plot.py: {arguments.json} has neither curves nor rows of which pictures are drawn")
    for name, picture in drawn.items():
        path = os.path.join(arguments.folder, f"{name}.{arguments.format}")
        picture.text(0.01, 0.005, results["machine"], fontsize=6, color="gray")
        picture.tight_layout()
        picture.savefig(path, dpi=110)
        print(path)


if __name__ == "__main__":
    main()
