"""How a time is divided at its edges."""

from bisect import bisect_right
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stead_controller.metering.time_grid import grid_of

BEGIN = 1_700_000_000 // 86400 * 86400
edge_sets = st.sets(st.integers(BEGIN, BEGIN + 10**6), min_size=2, max_size=60)
grids = st.builds(
    lambda step, count, others: {*range(BEGIN, BEGIN + step * count + 1, step), *others},
    st.sampled_from([3600, 86400]),
    st.integers(1, 60),
    st.sets(st.integers(BEGIN, BEGIN + 10**6), max_size=4),
)


@given(edge_sets | grids, st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 9))))
def test_each_use_is_divided_as_a_recount_divides_it(edges, uses):
    ordered = sorted(edges)
    found = dict.fromkeys(range(len(ordered) - 1), 0)
    for number, grid in grid_of(ordered):
        sums = []
        for after, length, quantity in uses:
            begin = max(BEGIN + after, grid.begin) - grid.begin
            end = min(BEGIN + after + length, grid.end) - grid.begin
            if begin < end:
                places = grid.place(begin), grid.place(end)
                sums.append((*places, quantity, quantity * begin, quantity * end))
        for part, amount in grid.spread(sums).items():
            found[number + part] += amount
    counted = dict.fromkeys(found, 0)
    for part, (first, last) in enumerate(pairwise(ordered)):
        for after, length, quantity in uses:
            seconds = min(BEGIN + after + length, last) - max(BEGIN + after, first)
            counted[part] += quantity * max(0, seconds)
    assert found == counted


@given(edge_sets | grids)
def test_a_place_is_that_of_the_last_edge_before(edges):
    ordered = sorted(edges)
    for _, grid in grid_of(ordered):
        for time in {*grid.edges, *(edge - 1 for edge in grid.edges[1:]), *(edge + 1 for edge in grid.edges[:-1])}:
            assert grid.place(time - grid.begin) == bisect_right(grid.edges, time) - 1


def test_many_edges_of_days_are_one_grid_and_others_are_short_ones():
    days = list(range(BEGIN, BEGIN + 100 * 86400, 86400))
    [(first, grid)] = grid_of([*days[:50], days[49] + 7, *days[50:]])
    assert (first, grid.step, len(grid.others)) == (0, 86400, 1)
    odd = [BEGIN + 7 * number**2 for number in range(50)]
    assert [(first, len(grid.edges), grid.step) for first, grid in grid_of(odd)] == [
        (0, 25, 0),
        (24, 25, 0),
        (48, 2, 0),
    ]
    assert [len(grid_of(odd[:count])) for count in (25, 26, 49)] == [1, 2, 2]
    others = [days[0] + number for number in range(1, 25)]
    assert [grid_of(some)[0][1].step for some in (days[:24], days[:25], sorted(days[:25] + others))] == [
        0,
        86400,
        86400,
    ]
