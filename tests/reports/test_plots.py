"""Plots hold what they show."""

import pytest

from flan.reports.plots import curves, upright_bars

SHORT = ["base", "tuned", "no template"]
LONG = [
    "base",
    *(f"examples {n}, prompt on {b}, no_template prompts" for n in (8, 32) for b in "ab"),
]
ENDLESS = ["a", "a checkpoint whose name goes on and on, beyond the width of any plot of this page"]


@pytest.mark.parametrize("names", [SHORT, LONG, ENDLESS])
@pytest.mark.parametrize("kind", ["curves", "bars"])
def test_a_legend_stays_within_its_plot_and_leaves_room_for_it(names, kind):
    if kind == "curves":
        figure = curves({name: [(0, 1), (1, 2)] for name in names}, across="step", up="loss")
    else:
        figure = upright_bars({"nli": dict.fromkeys(names, 40.0)}, "score")
    figure.draw_without_rendering()
    whole, legend = figure.bbox, figure.legends[0].get_window_extent()
    assert legend.x0 >= 0
    assert legend.x1 <= whole.x1
    assert legend.y1 <= whole.y1
    axes = figure.axes[0].get_window_extent()
    assert axes.height > 0.4 * whole.height
    assert axes.y1 <= legend.y0
    assert [text.get_text().replace("\n", " ") for text in figure.legends[0].texts] == names
