"""PutMetricData, GetMetricData, GetMetricStatistics and ListMetrics through boto3."""

import gzip
import json
from datetime import UTC, timedelta

import pytest

from stead_controller.clock import now
from tests.api.identity import refused

NOW = now().replace(second=0, microsecond=0)
START = NOW - timedelta(minutes=10)
TIMES = {"StartTime": START, "EndTime": NOW}


@pytest.fixture
def client(api):
    return api.client(api.world.one, "cloudwatch")


def put(client, *data, namespace="N"):
    client.put_metric_data(Namespace=namespace, MetricData=list(data))


def datum(value, minute=0, name="m", **more):
    return {"MetricName": name, "Value": float(value), "Timestamp": START + timedelta(minutes=minute), **more}


def query(name="m", stat="Sum", period=60, *, query_id="q", namespace="N", dimensions=(), **more):
    metric = {"Namespace": namespace, "MetricName": name, "Dimensions": list(dimensions)}
    return {"Id": query_id, "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}, **more}


def read(client, *queries, **more):
    found = client.get_metric_data(MetricDataQueries=list(queries), **TIMES | more)
    return {
        one["Id"]: {
            (at - START).total_seconds() / 60: value for at, value in zip(one["Timestamps"], one["Values"], strict=True)
        }
        for one in found["MetricDataResults"]
    }


def dimension(value, name="d"):
    return {"Name": name, "Value": value}


def test_what_is_put_is_read(client):
    put(client, datum(1, 0), datum(2, 0), datum(4, 3), datum(7, 3, name="other"))
    assert read(client, query()) == {"q": {0: 3, 3: 4}}
    assert read(client, query(stat="Average"), query(stat="SampleCount", query_id="n")) == {
        "q": {0: 1.5, 3: 4},
        "n": {0: 2, 3: 1},
    }
    assert read(client, query(stat="p50"), query(stat="Maximum", query_id="n"))["n"] == {0: 2, 3: 4}


def test_sets_values_and_counts(client):
    at = {"Timestamp": START}
    statistics = {"SampleCount": 4.0, "Sum": 10.0, "Minimum": 1.0, "Maximum": 5.0}
    put(client, {"MetricName": "m", "StatisticValues": statistics, "Unit": "Seconds", **at})
    put(client, {"MetricName": "v", "Values": [1.0, 9.0], "Counts": [3.0, 1.0], **at})
    put(client, {"MetricName": "w", "Values": [2.0, 3.0], **at})
    found = client.get_metric_statistics(
        Namespace="N",
        MetricName="m",
        Period=60,
        Statistics=["Sum", "Average", "Minimum", "Maximum", "SampleCount"],
        **TIMES,
    )
    [point] = found["Datapoints"]
    assert point.pop("Timestamp") == START
    assert point == {"Sum": 10, "Average": 2.5, "Minimum": 1, "Maximum": 5, "SampleCount": 4, "Unit": "Seconds"}
    assert read(client, query("v", "Average"), query("w", query_id="w")) == {"q": {0: 3}, "w": {0: 5}}


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"Value": None}, "MissingParameter"),
        ({"Values": [1.0]}, "InvalidParameterCombination"),
        ({"Counts": [1.0]}, "InvalidParameterCombination"),
        ({"Value": None, "Values": [1.0], "Counts": [1.0, 2.0]}, "InvalidParameterValue"),
        ({"Value": None, "Values": [1.0], "Counts": [0.0]}, "InvalidParameterValue"),
        ({"Value": None, "Values": []}, "InvalidParameterValue"),
        ({"Value": None, "Values": [float(n) for n in range(151)]}, "InvalidParameterValue"),
        ({"Value": 2.0**361}, "InvalidParameterValue"),
        ({"Value": float("nan")}, "ValidationError"),
        ({"StorageResolution": 30}, "InvalidParameterValue"),
        ({"Timestamp": NOW - timedelta(days=15)}, "InvalidParameterValue"),
        ({"Timestamp": NOW + timedelta(hours=3)}, "InvalidParameterValue"),
        ({"Dimensions": [dimension("a"), dimension("b")]}, "ValidationError"),
        ({"Dimensions": [dimension("a", ":d")]}, "InvalidParameterValue"),
        ({"Dimensions": [dimension("ü")]}, "InvalidParameterValue"),
        (
            {"Value": None, "StatisticValues": {"SampleCount": 0.0, "Sum": 1.0, "Minimum": 1.0, "Maximum": 1.0}},
            "InvalidParameterValue",
        ),
        (
            {"Value": None, "StatisticValues": {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 2.0, "Maximum": 1.0}},
            "InvalidParameterValue",
        ),
    ],
)
def test_what_is_no_datum(api, client, bad, code):
    one = {name: value for name, value in (datum(1) | bad).items() if value is not None}
    refused(code, client.put_metric_data, Namespace="N", MetricData=[datum(1), one])
    assert api.metrics.data == []


def test_what_is_no_request(api, client):
    refused("InvalidParameterValue", client.put_metric_data, Namespace="AWS/EC2", MetricData=[datum(1)])
    refused("MissingParameter", client.put_metric_data, Namespace="N", MetricData=[])
    refused("InvalidParameterValue", client.put_metric_data, Namespace="N", MetricData=[datum(1)] * 1001)
    entity = {"Entity": {"KeyAttributes": {"a": "b", "c": "d"}}, "MetricData": [datum(1)]}
    refused(
        "UnsupportedOperation", client.put_metric_data, Namespace="N", MetricData=[datum(1)], EntityMetricData=[entity]
    )
    assert api.metrics.data == []


def test_a_thousand_metrics_come_in_one_compressed_call(api, client):
    sent = []
    client.meta.events.register("before-send.cloudwatch.PutMetricData", lambda request, **_: sent.append(request))
    put(client, *(datum(number, name=f"m{number}", Unit="Count") for number in range(1000)))
    assert sent[-1].headers["Content-Encoding"] == b"gzip"
    assert len(gzip.decompress(sent[-1].body)) > len(sent[-1].body)
    assert len(api.metrics.data) == 1000
    names = [
        one["MetricName"]
        for page in client.get_paginator("list_metrics").paginate(Namespace="N")
        for one in page["Metrics"]
    ]
    assert len(set(names)) == len(names) == 1000


def test_units_are_read_apart(client):
    put(client, datum(1, Unit="Seconds"), datum(5, Unit="Bytes"), datum(6, 1, Unit="Bytes"))
    asked = {"Namespace": "N", "MetricName": "m", "Period": 60, "Statistics": ["Sum"], **TIMES}
    found = client.get_metric_statistics(**asked)["Datapoints"]
    assert [(one["Unit"], one["Sum"]) for one in found] == [("Bytes", 5), ("Seconds", 1), ("Bytes", 6)]
    [point] = client.get_metric_statistics(**asked, Unit="Seconds")["Datapoints"]
    assert point["Sum"] == 1
    stat = query()
    stat["MetricStat"]["Unit"] = "Bytes"
    assert read(client, stat) == {"q": {0: 5, 1: 6}}


def test_statistics_by_name(client):
    put(client, *(datum(number) for number in range(1, 101)))
    found = client.get_metric_statistics(
        Namespace="N",
        MetricName="m",
        Period=300,
        ExtendedStatistics=["p50", "tm90", "PR(:50)"],
        Statistics=["Sum"],
        **TIMES,
    )
    assert found["Label"] == "m"
    [point] = found["Datapoints"]
    assert set(point["ExtendedStatistics"]) == {"p50", "tm90", "PR(:50)"}
    assert point["ExtendedStatistics"]["PR(:50)"] == 50
    assert point["Sum"] == 5050


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"Statistics": None}, "InvalidParameterCombination"),
        ({"Period": 45}, "InvalidParameterValue"),
        ({"ExtendedStatistics": ["p101"]}, "InvalidParameterValue"),
        ({"EndTime": START}, "InvalidParameterValue"),
        ({"StartTime": NOW - timedelta(days=2)}, "InvalidParameterCombination"),
    ],
)
def test_what_are_no_statistics(client, bad, code):
    asked = {"Namespace": "N", "MetricName": "m", "Period": 60, "Statistics": ["Sum"], **TIMES} | bad
    refused(code, client.get_metric_statistics, **{name: value for name, value in asked.items() if value is not None})


def test_math_is_done(client):
    put(client, datum(1, 0), datum(2, 1), datum(10, 1, name="n"))
    found = read(
        client,
        query(ReturnData=False),
        query("n", query_id="n", ReturnData=False),
        {"Id": "e", "Expression": "FILL(n, 0) + q * 2"},
        {"Id": "f", "Expression": "SUM(METRICS())"},
        {"Id": "c", "Expression": "3", "Period": 300},
    )
    assert found == {"e": {0: 2, 1: 14}, "f": {0: 1, 1: 12}, "c": {float(at): 3 for at in found["c"]}}
    assert found["c"]


def test_a_search_finds_series(client):
    for value in ("a", "b"):
        put(client, datum(5, Dimensions=[dimension(value)]), datum(6, 1, name="other", Dimensions=[dimension(value)]))
    put(client, datum(9, Dimensions=[dimension("a", "e")]))
    found = client.get_metric_data(
        MetricDataQueries=[{"Id": "s", "Expression": "SEARCH('{N,d} MetricName=\"m\"', 'Sum', 60)"}], **TIMES
    )["MetricDataResults"]
    assert [(one["Id"], one["Label"], one["Values"]) for one in found] == [("s", "a", [5]), ("s", "b", [5])]
    assert read(client, {"Id": "s", "Expression": "SUM(SEARCH('{N,d} other', 'Sum', 60))"}) == {"s": {1: 12}}
    assert read(client, {"Id": "s", "Expression": "SEARCH('{M,d}', 'Sum', 60)"}) == {}


def test_data_points_come_in_pages_and_in_either_order(client):
    put(
        client,
        *(datum(number, number) for number in range(10)),
        *(datum(number, number, name="n") for number in range(10)),
    )
    queries = [query(), query("n", query_id="n")]
    for order, expected in (("TimestampAscending", range(10)), ("TimestampDescending", range(9, -1, -1))):
        pages = client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries, ScanBy=order, PaginationConfig={"PageSize": 7}, **TIMES
        )
        found, statuses = {"q": [], "n": []}, []
        for page in pages:
            assert sum(len(one["Values"]) for one in page["MetricDataResults"]) <= 7
            for one in page["MetricDataResults"]:
                found[one["Id"]] += one["Values"]
                statuses.append(one["StatusCode"])
        assert found == {"q": list(expected), "n": list(expected)}
        assert statuses == ["PartialData", "Complete", "PartialData", "Complete"]


def test_labels(client):
    put(client, datum(1, Dimensions=[dimension("x")]), datum(3, 1, Dimensions=[dimension("x")]))

    def label(text):
        asked = query(dimensions=[dimension("x")], **({"Label": text} if text else {}))
        [found] = client.get_metric_data(MetricDataQueries=[asked], **TIMES)["MetricDataResults"]
        return found["Label"]

    assert label(None) == "m"
    assert label("mine") == "mine"
    assert label("${LABEL}: ${MIN} ${MAX} ${AVG} ${SUM} ${FIRST} ${LAST} ${DATAPOINT_COUNT}") == "m: 1 3 2 4 1 3 2"
    props = ("MetricName", "Namespace", "Stat", "Period", "Dim.d", "Dim.e", "AccountId", "Region")
    text = " ".join(f"${{PROP('{one}')}}" for one in props)
    assert label(text) == "m N Sum 60 x  111111111111 us-east-1"
    with pytest.raises(AssertionError):
        refused("x", label, text="${BOGUS}")


@pytest.mark.parametrize(
    "queries",
    [
        [],
        [query(period=45)],
        [query(stat="p101")],
        [query(), query()],
        [query(query_id="Q")],
        [{"Id": "e", "Expression": "nosuch"}],
        [{"Id": "e", "Expression": "SEARCH('', 'Sum')"}],
        [{"Id": "e", "Expression": "SEARCH('a', 'bogus')"}],
        [{"Id": "e", "Expression": "1", "Period": 7}],
        [query(query_id=f"q{number}") for number in range(501)],
    ],
)
def test_what_are_no_queries(client, queries):
    refused("ValidationError", client.get_metric_data, MetricDataQueries=queries, **TIMES)


def test_what_else_is_refused_of_queries(client):
    asked = {"MetricDataQueries": [query()]}
    refused("ValidationError", client.get_metric_data, **asked, StartTime=NOW, EndTime=START)
    refused("UnsupportedOperation", client.get_metric_data, **asked, **TIMES, LabelOptions={"Timezone": "+0100"})
    refused(
        "UnsupportedOperation", client.get_metric_data, MetricDataQueries=[query(AccountId="222222222222")], **TIMES
    )
    refused("InvalidNextToken", client.get_metric_data, **asked, **TIMES, NextToken="x")
    anomaly = {"Id": "e", "Expression": "ANOMALY_DETECTION_BAND(q)"}
    refused("UnsupportedOperation", client.get_metric_data, MetricDataQueries=[query(), anomaly], **TIMES)


def test_old_data_are_there_in_longer_periods_only(client):
    then = NOW.replace(minute=0) - timedelta(days=13)
    put(client, {"MetricName": "m", "Value": 1.0, "Timestamp": then})
    times = {"StartTime": then, "EndTime": then + timedelta(hours=1)}
    for period, expected in ((60, [1.0]), (30, [])):
        [found] = client.get_metric_data(MetricDataQueries=[query(period=period)], **times)["MetricDataResults"]
        assert found["Values"] == expected
        asked = {"Namespace": "N", "MetricName": "m", "Period": period, "Statistics": ["Sum"], **times}
        assert [one["Sum"] for one in client.get_metric_statistics(**asked)["Datapoints"]] == expected


def test_metrics_are_listed(api, client):
    put(client, datum(1, Dimensions=[dimension("x"), dimension("y", "e")]), datum(1, name="n"))
    put(client, datum(1, Dimensions=[dimension("z")]), namespace="M")
    old = NOW - timedelta(hours=4)
    put(client, {"MetricName": "old", "Value": 1.0, "Timestamp": old})

    def names(**asked):
        return [(one["Namespace"], one["MetricName"]) for one in client.list_metrics(**asked)["Metrics"]]

    assert names() == [("M", "m"), ("N", "m"), ("N", "n"), ("N", "old")]
    assert names(Namespace="N") == [("N", "m"), ("N", "n"), ("N", "old")]
    assert names(MetricName="m", Dimensions=[{"Name": "d"}]) == [("M", "m"), ("N", "m")]
    assert names(Dimensions=[dimension("x")]) == [("N", "m")]
    assert names(RecentlyActive="PT3H") == [("M", "m"), ("N", "m"), ("N", "n")]
    [shown] = client.list_metrics(Namespace="N", MetricName="m")["Metrics"]
    assert shown["Dimensions"] == [dimension("x"), dimension("y", "e")]
    assert api.client(api.world.other, "cloudwatch").list_metrics()["Metrics"] == []
    refused("UnsupportedOperation", client.list_metrics, IncludeLinkedAccounts=True)


def test_nobody_reads_anothers_data(api, client):
    put(client, datum(1))
    theirs = api.client(api.world.other, "cloudwatch")
    assert read(theirs, query()) == {"q": {}}
    asked = {"Namespace": "N", "MetricName": "m", "Period": 60, "Statistics": ["Sum"], **TIMES}
    assert theirs.get_metric_statistics(**asked)["Datapoints"] == []


def test_a_store_that_is_away_is_said(api, client):
    api.metrics.is_away = True
    refused("ServiceUnavailable", client.put_metric_data, Namespace="N", MetricData=[datum(1)])
    refused("ServiceUnavailable", client.list_metrics)
    assert START.tzinfo is UTC


def test_an_image_is_of_ones_own_data(client):
    put(client, datum(1, 0), datum(40, 5))
    widget = {"metrics": [["N", "m", {"stat": "Sum", "period": 60}]], "width": 200, "height": 120}
    size = {"width": (200).to_bytes(4), "height": (120).to_bytes(4)}
    images = []
    for name in ("m", "nothing"):
        widget["metrics"][0][1] = name
        png = client.get_metric_widget_image(MetricWidget=json.dumps(widget))["MetricWidgetImage"]
        assert (png[:8], png[16:24]) == (b"\x89PNG\r\n\x1a\n", size["width"] + size["height"])
        images.append(png)
    assert images[0] != images[1], "one of them shows a line"


@pytest.mark.parametrize(
    ("widget", "code"),
    [
        ("{", "ValidationError"),
        ('{"metrics": [["N", "m"]], "view": "pie"}', "ValidationError"),
        ('{"metrics": [["N", "m", {"stat": "Most"}]]}', "ValidationError"),
        ('{"metrics": [["N", "m", {"period": 7}]]}', "ValidationError"),
        ('{"metrics": [["N", "m", {"id": "Bad"}]]}', "ValidationError"),
        ('{"metrics": [[{"expression": "SUM("}]]}', "ValidationError"),
    ],
)
def test_what_is_no_widget_is_not_drawn(client, widget, code):
    refused(code, client.get_metric_widget_image, MetricWidget=widget)


def test_an_image_is_a_png(client):
    refused(
        "UnsupportedOperation",
        client.get_metric_widget_image,
        MetricWidget='{"metrics": [["N", "m"]]}',
        OutputFormat="image/png",
    )
