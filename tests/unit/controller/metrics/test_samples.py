"""Data as samples, and a millisecond for each datum of a second."""

from hypothesis import given
from hypothesis import strategies as st

from stead_controller.metrics.datum import Datum, Identity, single
from stead_controller.metrics.samples import Slots, samples_of

ONE = Identity("1", "N", "M")
AT = 1_795_893_600_000


def _kinds(datum):
    return [(sample.kind, sample.at - AT, sample.value) for sample in samples_of(datum)]


def test_a_measurement_is_one_sample():
    assert _kinds(single(ONE, AT, "Count", 7)) == [("value", 0, 7)]


def test_a_statistic_set_says_nothing_of_its_values():
    sets = [("count", 0, 3), ("sum", 0, 9), ("minimum", 0, 1), ("maximum", 0, 5)]
    assert _kinds(Datum(ONE, AT, "Count", 60, 3, 9, 1, 5)) == sets


def test_unless_they_are_all_the_same():
    found = _kinds(Datum(ONE, AT, "Count", 60, 3, 12, 4, 4))
    assert found[4:] == [("spread_value", 0, 4), ("spread_weight", 0, 3)]


def test_a_count_of_one_with_two_bounds_is_no_measurement():
    assert len(_kinds(Datum(ONE, AT, "Count", 60, 1, 3, 1, 5))) == 4


def test_one_source_of_several_gives_a_set_without_values():
    found = list(samples_of(Datum(ONE, AT, "Count", 60, 1, 3, 3, 3, source="h-1")))
    assert [(sample.kind, sample.value) for sample in found] == [
        ("count", 1),
        ("sum", 3),
        ("minimum", 3),
        ("maximum", 3),
    ]
    assert {sample.source for sample in found} == {"h-1"}


def test_values_take_a_millisecond_each():
    found = _kinds(Datum(ONE, AT, "Count", 60, 3, 6, 1, 4, ((1, 2), (4, 1))))
    assert found[4:] == [
        ("spread_value", 0, 1), ("spread_weight", 0, 2), ("spread_value", 1, 4), ("spread_weight", 1, 1),
    ]  # fmt: skip


@given(st.lists(st.integers(1, 150), max_size=12), st.integers(0, 5000))
def test_data_of_a_second_take_different_milliseconds(widths, first):
    slots = Slots()
    taken = []
    for width in widths[:6]:
        values = tuple((float(number), 1.0) for number in range(width))
        datum = Datum(ONE, AT + 250, "Count", 1, width, 1, 0, width, values if width > 1 else ())
        at = slots.place(datum, first)
        taken += range(at, at + width)
    assert len(set(taken)) == len(taken)
    assert all(AT <= at < AT + 1000 for at in taken)


@given(st.integers(1, 6), st.lists(st.integers(1, 150), max_size=3), st.integers(0, 5000))
def test_what_several_place_in_a_second_does_not_meet(parts, widths, first):
    taken = []
    for part in range(parts):
        slots = Slots()
        slots.take_part(part, parts)
        left = 1000 // parts
        for width in widths:
            left -= 2 * width  # what does not fit before the end begins anew
            if left >= 0:
                values = tuple((float(number), 1.0) for number in range(width))
                at = slots.place(Datum(ONE, AT, "Count", 1, width, 1, 0, width, values if width > 1 else ()), first)
                taken += range(at, at + width)
    assert len(set(taken)) == len(taken)
    assert all(AT <= at < AT + 1000 for at in taken)


def test_each_has_a_part_of_its_own_and_all_are_used():
    found = []
    for part in range(4):
        slots = Slots()
        slots.take_part(part, 4)
        found += [slots.place(single(ONE, AT, "Count", 1), 17) - AT for _ in range(250)]
    assert sorted(found) == list(range(1000))


def test_other_metrics_units_and_seconds_have_their_own():
    slots = Slots()
    data = [single(ONE, AT, "Count", 1), single(ONE, AT, "Bytes", 1), single(Identity("2", "N", "M"), AT, "Count", 1)]
    assert [slots.place(datum, 5) for datum in data] == [AT + 5] * 3
    assert slots.place(single(ONE, AT + 1000, "Count", 1), 5) == AT + 1005
    assert slots.place(data[0], 5) == AT + 6


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr("stead_controller.metrics.samples._MOST_SECONDS", 2)
    slots = Slots()
    seconds = [single(ONE, AT + 1000 * number, "Count", 1) for number in range(3)]
    for datum in seconds:
        slots.place(datum, 0)
    assert slots.place(seconds[2], 0) == AT + 2001
    assert slots.place(seconds[0], 0) == AT  # forgotten
