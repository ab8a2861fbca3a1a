"""Whether something grows: figures that were taken now and then, and by how much each grew with the lives meanwhile."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class Sample:
    """Figures by their names, after so many lives."""

    lives: int
    figures: Mapping[str, float]


def per_thousand(samples: Sequence[Sample], name: str) -> float:
    """Return by how much a figure grew in a thousand lives: the median of all pairs of samples (Theil and Sen).

    One sample that is out of line changes nothing. 0 for fewer than two samples that have the figure.
    """
    points = [(each.lives, each.figures[name]) for each in samples if name in each.figures]
    slopes = [
        (second - first) / (later - earlier) * 1000
        for (earlier, first), (later, second) in combinations(points, 2)
        if later > earlier
    ]
    return statistics.median(slopes) if slopes else 0.0


def grown(samples: Sequence[Sample], limits: Mapping[str, float]) -> list[str]:
    """Name what grew by more than its limit in a thousand lives; a limit is that of all names that begin so."""
    found = []
    for name in sorted({name for each in samples for name in each.figures}):
        limit = next((limit for begin, limit in limits.items() if name.startswith(begin)), None)
        growth = per_thousand(samples, name)
        if limit is not None and growth > limit:
            found.append(f"{name} grows by {growth:.3g} in a thousand lives, {limit:g} allowed")
    return found
