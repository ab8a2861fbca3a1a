"""Questions as PromQL, answers as points; what the engine makes of them is in tests/host/metrics."""

from stead_controller.metrics import queries
from stead_controller.metrics.datum import Filter, Identity, Wanted
from stead_controller.metrics.labels import id_of

ONE, OTHER = Identity("1", "N", "M"), Identity("1", "N", "O")
T = 1_795_893_600_000


def test_questions_that_differ_by_their_metric_are_one_query():
    asked = [Wanted(ONE, "Sum", T, T + 120_000, 60), Wanted(ONE, "Sum", T, T + 120_000, 120),
             Wanted(OTHER, "Sum", T, T + 120_000, 60), Wanted(OTHER, "Sum", T, T + 120_000, 60, "Bytes")]  # fmt: skip
    groups = queries.grouped(asked)
    assert [[place for place, _ in group.members] for group in groups] == [[0, 2], [1], [3]]
    assert f'id=~"{"|".join(sorted((id_of(ONE), id_of(OTHER))))}"' in queries.simple_query(groups[0])
    assert "unit" not in queries.simple_query(groups[0]).partition("{")[2].partition("}")[0]
    assert 'unit="Bytes"' in queries.simple_query(groups[2])


def test_a_query_has_not_too_many_metrics_and_points():
    metrics = [Identity("1", "N", str(number)) for number in range(600)]
    few = queries.grouped([Wanted(each, "Sum", T, T + 60_000, 60) for each in metrics])
    assert [len(group.members) for group in few] == [500, 100]
    day = queries.grouped([Wanted(each, "Sum", T, T + 86_400_000, 1) for each in metrics])
    assert [len(group.members) for group in day] == [5] * 120
    assert [len(group.members) for group in queries.grouped([Wanted(ONE, "Sum", T, T + 10**13, 1)])] == [1]


def test_each_period_is_looked_at_in_its_last_millisecond():
    [group] = queries.grouped([Wanted(ONE, "Sum", T, T + 120_000, 60)])
    assert group.parameters == {"start": "1795893659.999", "end": "1795893719.999", "step": "60s"}
    series = {"values": [[1795893659.999, "3"], [1795893719.999, "4.5"]]}
    assert queries.points_of(series, 60) == ((T, 3), (T + 60_000, 4.5))


def test_single_values_are_those_of_the_whole_time():
    [group] = queries.grouped([Wanted(ONE, "p90", T, T + 120_000, 60)])
    query, time = queries.raw_query(group)
    assert query.endswith("[120000ms]")
    assert time == "1795893719.999"


def test_texts_of_others_stay_texts():
    wanted = Filter('1"', 'n\\"} or x{"', "m\n", (("a b", 'v"'), ("c", None)))
    assert queries.find_query(wanted) == (
        'cloudwatch{account="1\\"",kind=~"value|count",namespace="n\\\\\\"} or x{\\"",metric="m\\n",'
        'd_a_20b="v\\"",d_c!=""}'
    )
