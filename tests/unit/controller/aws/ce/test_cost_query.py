"""By what and in which metrics Cost Explorer is asked."""

import pytest

from stead_controller.aws.ce import cost_query
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.metering.cost_sums import Group


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([{"Type": "DIMENSION", "Key": "COLOUR"}], InvalidParameter, "enum value set"),
        ([{"Type": "DIMENSION", "Key": "PLATFORM"}], Unsupported, "PLATFORM is not supported"),
        ([{"Type": "SHAPE", "Key": "SERVICE"}], InvalidParameter, "enum value set"),
        ([{"Type": "PRODUCT_ATTRIBUTE", "Key": "model"}], Unsupported, "not supported"),
        ([{"Key": "SERVICE"}], InvalidParameter, "Value '' at 'type'"),
        ([{"Type": "TAG"}], InvalidParameter, "must have a Key"),
        ([{"Type": "TAG", "Key": "a"}] * 2, InvalidParameter, "given twice"),
        ([{"Type": "TAG", "Key": key} for key in "abc"], InvalidParameter, "2 definitions"),
    ],
)
def test_bad_groups_are_refused(given, error, words):
    with pytest.raises(error, match=words):
        cost_query.read_groups(given)


def test_groups_are_read_in_their_order():
    given_groups = [{"Type": "TAG", "Key": "a"}, {"Type": "DIMENSION", "Key": "AZ"}]
    assert cost_query.read_groups(given_groups) == (Group("TAG", "a"), Group("DIMENSION", "AZ"))


def test_metrics_are_read_once_and_others_refused():
    assert cost_query.read_metrics(["UsageQuantity", "BlendedCost", "UsageQuantity"]) == (
        "UsageQuantity",
        "BlendedCost",
    )
    for names, error in ((["ListCost"], Unsupported), (["Cost"], InvalidParameter), ([], InvalidParameter)):
        with pytest.raises(error):
            cost_query.read_metrics(names)
