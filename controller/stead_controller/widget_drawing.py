"""Draws a graph: reads a picture as JSON from standard input, writes a PNG to standard output.

A program of its own, `python -I -m stead_controller.widget_drawing`: matplotlib takes 80 MiB and a second to load, and
is gone with the process.
"""

import io
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

_PIXELS: Final = 100  # an inch
_MOST_MEMORY: Final = 1 << 30
_THEMES: Final = {"light": ("#ffffff", "#16191f", "#e9ebed"), "dark": ("#0f1b2a", "#d1d5db", "#414d5c")}


def draw(picture: Mapping[str, Any]) -> bytes:
    """Return the PNG of a picture, as `resources/metrics/widget.py` makes it."""
    from matplotlib import dates  # noqa: PLC0415 - its settings must be set before
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - as above
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    back, front, grid = _THEMES[picture["theme"]]
    size = picture["width"] / _PIXELS, picture["height"] / _PIXELS
    figure = Figure(figsize=size, dpi=_PIXELS, layout="constrained", facecolor=back)
    canvas: Any = FigureCanvasAgg(figure)
    left: Any = figure.subplots()
    has_right = any(one["right"] for one in (*picture["series"], *picture["lines"]))
    axes = {False: left, True: left.twinx()} if has_right else {False: left}
    zone = timezone(timedelta(minutes=picture["offset"]))
    drawn = [drawn for is_right, axis in axes.items() for drawn in _series(axis, picture, is_right=is_right, zone=zone)]
    for is_right, axis in axes.items():
        _dress(axis, picture["axes"]["right" if is_right else "left"], front)
        drawn += [
            (axis.axhline(line["value"], color=line["color"], linewidth=1.5), line["label"])
            for line in picture["lines"]
            if line["right"] == is_right
        ]
    left.set_facecolor(back)
    left.grid(visible=True, axis="y", color=grid, linewidth=0.8)
    left.set_xlim(*(_time(picture[name], zone) for name in ("start", "end")))
    formatter: Any = dates.ConciseDateFormatter
    left.xaxis.set_major_formatter(formatter(left.xaxis.get_major_locator(), tz=zone))
    if picture["title"]:
        figure.suptitle(picture["title"], color=front, fontsize=11, parse_math=False)
    _legend(figure, drawn, picture["legend"], front, back)
    png = io.BytesIO()
    canvas.print_png(png)
    return png.getvalue()


def _series(axis: Any, picture: Mapping[str, Any], *, is_right: bool, zone: timezone) -> Sequence[tuple[Any, str]]:
    """Draw the series of one axis; stacked, each stands on those before it."""
    drawn = []
    floor: dict[int, float] = {}
    for one in picture["series"]:
        if one["right"] != is_right:
            continue
        times = [_time(at, zone) for at, _ in one["points"]]
        if picture["stacked"]:
            below = [floor.get(at, 0.0) for at, _ in one["points"]]
            tops = [under + value for under, (_, value) in zip(below, one["points"], strict=True)]
            floor |= {at: top for (at, _), top in zip(one["points"], tops, strict=True)}
            drawn.append((axis.fill_between(times, below, tops, color=one["color"], alpha=0.6), one["label"]))
        else:
            marker = "o" if len(times) == 1 else None
            [line] = axis.plot(times, [value for _, value in one["points"]], color=one["color"], marker=marker)
            drawn.append((line, one["label"]))
    return drawn


def _dress(axis: Any, about: Mapping[str, Any], front: str) -> None:
    axis.tick_params(colors=front, labelsize=8)
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.set_ylim(about["min"], about["max"])
    axis.set_ylabel(about["label"], color=front, fontsize=9, parse_math=False)


def _legend(figure: Any, drawn: Sequence[tuple[Any, str]], position: str, front: str, back: str) -> None:
    if position == "hidden" or not drawn:
        return
    where, columns = ("outside lower left", 3) if position == "bottom" else ("outside right upper", 1)
    handles, labels = zip(*drawn, strict=True)
    # The texts are set afterwards: the library would leave out a label that begins with an underscore.
    legend = figure.legend(
        handles, ["series"] * len(labels), loc=where, ncols=columns, fontsize=8, facecolor=back, labelcolor=front
    )
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_parse_math(False)
        text.set_text(label)


def _time(at: int, zone: timezone) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone)


if __name__ == "__main__":
    import os
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    with tempfile.TemporaryDirectory(prefix="stead-drawing-") as folder:
        os.environ["MPLCONFIGDIR"] = folder  # where the library notes which fonts there are
        sys.stdout.buffer.write(draw(json.load(sys.stdin)))
