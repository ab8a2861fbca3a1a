"""The SQL of exports: columns of one table, in linear time."""

import pytest

from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.data_exports import statement, tables


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("SELECT Tags FROM FOCUS_1_2_AWS", [("Tags", "Tags")]),
        ("select Tags,\n  ListCost from focus_1_2_aws;", [("Tags", "Tags"), ("ListCost", "ListCost")]),
        ("SELECT Tags AS t , ListCost as c FROM FOCUS_1_2_AWS", [("Tags", "t"), ("ListCost", "c")]),
        (f"SELECT Tags AS {'t' * 128} FROM FOCUS_1_2_AWS", [("Tags", "t" * 128)]),
    ],
)
def test_columns_of_a_table(text, columns):
    found = statement.parse(text)
    assert (found.table.name, list(found.columns)) == ("FOCUS_1_2_AWS", columns)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be: SELECT columns FROM table"),
        ("SELECT", "must be: SELECT columns FROM table"),
        ("SELECT Tags", "must be: SELECT columns FROM table"),
        ("SELECT Tags FROM", "must be: SELECT columns FROM table"),
        ("Tags FROM FOCUS_1_2_AWS", "must be: SELECT columns FROM table"),
        ("SELECT FROM FOCUS_1_2_AWS", "'' is no column of FOCUS_1_2_AWS"),
        ("SELECT Tags, FROM FOCUS_1_2_AWS", "'' is no column of FOCUS_1_2_AWS"),
        ("SELECT Tags t FROM FOCUS_1_2_AWS", "'Tags t' is no column"),
        ("SELECT Tags IS t FROM FOCUS_1_2_AWS", "'Tags IS t' is no column"),
        ("SELECT Tags AS t u FROM FOCUS_1_2_AWS", "'Tags AS t u' is no column"),
        ("SELECT Tags AS t-u FROM FOCUS_1_2_AWS", "'Tags AS t-u' is no column"),
        ("SELECT * FROM FOCUS_1_2_AWS", "is no column"),
        ("SELECT SUM(ListCost) FROM FOCUS_1_2_AWS", "is no column"),
        (
            "SELECT line_item_usage_type FROM FOCUS_1_2_AWS",
            "The table FOCUS_1_2_AWS has no column line_item_usage_type",
        ),
        ("SELECT Tags, ListCost AS Tags FROM FOCUS_1_2_AWS", "two columns of one name"),
        (f"SELECT Tags AS {'t' * 129} FROM FOCUS_1_2_AWS", "128 characters at most"),
        ("SELECT Tags FROM FOCUS", "There is no table FOCUS here; there are COST_AND_USAGE_REPORT"),
    ],
)
def test_what_is_no_statement_is_refused(text, words):
    with pytest.raises(InvalidParameter) as refusal:
        statement.parse(text)
    assert words in refusal.value.message


def test_more_of_sql_is_refused_by_name():
    with pytest.raises(Unsupported, match="'WHERE ListCost > 0' in a query"):
        statement.parse("SELECT Tags FROM FOCUS_1_2_AWS WHERE ListCost > 0")


def test_properties_have_awss_values_and_defaults():
    table = tables.find("COST_AND_USAGE_REPORT")
    assert table.read({"INCLUDE_RESOURCES": "TRUE"}) == {
        "TIME_GRANULARITY": "HOURLY",
        "INCLUDE_RESOURCES": "TRUE",
        "INCLUDE_MANUAL_DISCOUNT_COMPATIBILITY": "FALSE",
        "INCLUDE_SPLIT_COST_ALLOCATION_DATA": "FALSE",
    }
    with pytest.raises(InvalidParameter, match="no property SIZE"):
        table.read({"SIZE": "1"})
    with pytest.raises(Unsupported, match="INCLUDE_RESOURCES=MAYBE"):
        table.read({"INCLUDE_RESOURCES": "MAYBE"})


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("Tags", "map"),
        ("resource_tags", "map"),
        ("BillingPeriodEnd", "timestamp_milliseconds"),
        ("line_item_usage_start_date", "timestamp_milliseconds"),
        ("BilledCost", "double"),
        ("line_item_usage_amount", "double"),
        ("ListUnitPrice", "double"),
        ("ServiceName", "string"),
    ],
)
def test_columns_have_awss_types(column, kind):
    assert tables.type_of(column) == kind
