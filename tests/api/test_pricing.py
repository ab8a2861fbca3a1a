"""The price list by boto3 and by the aws command: what tools ask before they launch."""

import json
import urllib.error
import urllib.request
from datetime import timedelta

import pytest

from stead_controller.clock import now
from stead_controller.db.tables import PriceBook
from tests.api.cost_requests import PRICE_LIST
from tests.api.identity import refused, who_may
from tests.support.clients import Account

MICRO = (2 * 25 + 6) / 10000  # an hour of t3.micro by the default prices: two vCPUs and one GiB

LISTED = {"ServiceCode": "AmazonEC2", "EffectiveDate": now(), "CurrencyCode": "USD"}


@pytest.fixture
def prices(api):
    return api.client(api.world.one, "pricing")


def match(**fields):
    return [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in fields.items()]


# What Karpenter asks for.
ASKED = match(
    regionCode="us-east-1", serviceCode="AmazonEC2", preInstalledSw="NA", operatingSystem="Linux",
    capacitystatus="Used", marketoption="OnDemand", tenancy="Shared", productFamily="Compute Instance",
)  # fmt: skip


def texts(client, code="AmazonEC2", filters=(), **more):
    found = client.get_products(ServiceCode=code, Filters=list(filters), FormatVersion="aws_v1", **more)
    return [json.loads(text) for text in found["PriceList"]]


def price(product):
    [term] = product["terms"]["OnDemand"].values()
    [dimension] = term["priceDimensions"].values()
    return dimension["pricePerUnit"]


def test_an_instance_type_is_found_as_tools_ask_for_it(prices):
    [one] = texts(prices, filters=[*ASKED, *match(instanceType="t3.micro", location="US East (N. Virginia)")])
    sku = one["product"]["sku"]
    assert one["product"]["productFamily"] == "Compute Instance"
    assert (one["product"]["attributes"]["vcpu"], one["serviceCode"]) == ("2", "AmazonEC2")
    [(key, term)] = one["terms"]["OnDemand"].items()
    rate = f"{key}.6YS6EN2CT7"
    assert key == f"{sku}.JRTCKXETXF"
    assert term == {
        "priceDimensions": {
            rate: {
                "unit": "Hrs",
                "beginRange": "0",
                "endRange": "Inf",
                "description": "$0.0056 per On Demand Linux t3.micro Instance Hour",
                "appliesTo": [],
                "rateCode": rate,
                "pricePerUnit": {"USD": "0.0056000000"},
            }
        },
        "sku": sku,
        "effectiveDate": "1970-01-01T00:00:00Z",
        "offerTermCode": "JRTCKXETXF",
        "termAttributes": {},
    }
    assert (one["version"], one["publicationDate"]) == ("19700101000000", "1970-01-01T00:00:00Z")
    assert texts(prices, filters=match(regionCode="eu-west-1")) == []


def test_the_book_that_is_valid_now_counts(api, prices):
    def add(tx):
        moment = int((now() - timedelta(days=1)).timestamp())
        book = 'currency = "EUR"\n[[price]]\nusage = "BoxUsage:t3.micro"\nprice = "0.012345678901"'
        tx.session.add(PriceBook(valid_from=moment, text=book))
        tx.session.add(PriceBook(valid_from=moment + 864000, text='currency = "CHF"'))
        tx.session.add(PriceBook(valid_from=moment - 864000, text='currency = "SEK"'))

    assert price(texts(prices, filters=[*ASKED, *match(instanceType="t3.micro")])[0]) == {"USD": "0.0056000000"}
    api.run(add)
    [one] = texts(prices)
    assert price(one) == {"EUR": "0.012345678901"}
    [term] = one["terms"]["OnDemand"].values()
    [dimension] = term["priceDimensions"].values()
    assert dimension["description"].startswith("EUR 0.012345678901 per ")
    assert texts(prices, "AmazonVPC", match(group="VPCPublicIPv4Address")) == []


def test_products_of_a_region_have_its_prices_and_its_name(api, prices):
    entry = '[[price]]\nusage = "BoxUsage:t3.micro"\nprice = "{}"\n'
    regions = (("0.1", ""), ("0.2", 'region = "us-east-1"\n'), ("0.3", 'region = "eu-central-1"\n'))
    text = 'currency = "EUR"\n' + "".join(entry.format(amount) + region for amount, region in regions)
    api.run(lambda tx: tx.session.add(PriceBook(valid_from=1, text=text)))
    for region, name, amount in (
        ("us-east-1", "US East (N. Virginia)", "0.2000000000"),
        ("eu-central-1", "EU (Frankfurt)", "0.3000000000"),
    ):
        for field in (match(regionCode=region), match(location=name)):
            [one] = texts(prices, filters=field)
            attributes = one["product"]["attributes"]
            assert (attributes["regionCode"], attributes["location"]) == (region, name)
            assert price(one) == {"EUR": amount}
    assert texts(prices, filters=match(regionCode="eu-west-1")) == []
    skus = {one["product"]["sku"] for one in texts(prices)}
    assert len(skus) == 2


def test_pages_follow_each_other_until_prices_change(api, prices):
    whole = [text for page in prices.get_paginator("get_products").paginate(ServiceCode="AmazonEC2", Filters=ASKED)
             for text in page["PriceList"]]  # fmt: skip
    asked = {"ServiceCode": "AmazonEC2", "Filters": ASKED}
    first = prices.get_products(**asked, MaxResults=2)
    second = prices.get_products(**asked, MaxResults=3, NextToken=first["NextToken"])
    assert first["PriceList"] + second["PriceList"] == whole[:5]
    assert len(whole) > 100
    refused("InvalidNextTokenException", prices.get_products, ServiceCode="AmazonEC2", NextToken=first["NextToken"])
    refused("InvalidNextTokenException", prices.get_products, **asked, NextToken="x")
    api.run(lambda tx: tx.session.add(PriceBook(valid_from=1, text='currency = "EUR"')))
    refused("ExpiredNextTokenException", prices.get_products, **asked, NextToken=first["NextToken"])


def test_services_and_values_of_attributes(prices):
    found = prices.describe_services()
    assert [service["ServiceCode"] for service in found["Services"]] == [
        "AmazonCloudWatch", "AmazonEC2", "AmazonS3", "AmazonVPC",
    ]  # fmt: skip
    assert found["FormatVersion"] == "aws_v1"
    [vpc] = prices.describe_services(ServiceCode="AmazonVPC")["Services"]
    assert {"group", "usagetype", "termType"} <= set(vpc["AttributeNames"])
    assert "productFamily" not in vpc["AttributeNames"]
    first = prices.describe_services(MaxResults=1)
    rest = prices.describe_services(NextToken=first["NextToken"])
    assert len(rest["Services"]) == 3
    assert [*first["Services"], *rest["Services"]] == found["Services"]
    assert "NextToken" not in rest

    def values(name, **more):
        found = prices.get_attribute_values(ServiceCode="AmazonEC2", AttributeName=name, **more)
        return [one["Value"] for one in found["AttributeValues"]]

    assert values("volumeApiName") == ["gp2", "gp3", "io1", "io2", "sc1", "st1", "standard"]
    assert values("volumeApiName", MaxResults=2) == ["gp2", "gp3"]
    assert values("tenancy") == ["Dedicated", "Host", "Shared"]
    assert values("termType") == ["OnDemand"]


@pytest.mark.parametrize(
    ("code", "operation", "params"),
    [
        ("NotFoundException", "get_products", {"ServiceCode": "AmazonRDS"}),
        ("NotFoundException", "describe_services", {"ServiceCode": "AmazonRDS"}),
        ("NotFoundException", "get_attribute_values", {"ServiceCode": "AmazonRDS", "AttributeName": "volumeType"}),
        ("NotFoundException", "get_attribute_values", {"ServiceCode": "AmazonEC2", "AttributeName": "colour"}),
        ("InvalidParameterException", "get_products", {"ServiceCode": "AmazonEC2", "FormatVersion": "aws_v2"}),
        ("InvalidParameterException", "describe_services", {"FormatVersion": "aws_v2"}),
        ("InvalidParameterException", "get_products", {"ServiceCode": "AmazonEC2", "Filters": match(colour="red")}),
        ("InvalidParameterException", "get_products", {"ServiceCode": "AmazonEC2", "MaxResults": 101}),
        ("NotFoundException", "list_price_lists", {**LISTED, "ServiceCode": "AmazonRDS"}),
        ("InvalidParameterException", "get_price_list_file_url", {"PriceListArn": PRICE_LIST, "FileFormat": "xml"}),
        *(
            ("NotFoundException", "get_price_list_file_url", {"PriceListArn": arn, "FileFormat": "csv"})
            for arn in (
                PRICE_LIST.replace("1970", "1971"),
                PRICE_LIST.replace("USD", "EUR"),
                PRICE_LIST.replace("EC2", "RDS"),
                PRICE_LIST.replace("us-east-1", "eu-west-1"),
                PRICE_LIST.replace("arn:aws:", "arn:aws-cn:"),
                f"{PRICE_LIST}/more",
            )
        ),
    ],
)
def test_what_there_is_not_is_refused(prices, code, operation, params):
    refused(code, getattr(prices, operation), **params)


def test_addresses_are_of_no_family_as_at_aws(prices):
    found = texts(prices, "AmazonVPC", match(group="VPCPublicIPv4Address"))
    assert len(found) == 3
    assert all("productFamily" not in one["product"] for one in found)


def test_users_need_rights(api):
    user = who_may(api, api.client(api.world.one, "iam"), "reader", "pricing:GetProducts")("pricing")
    assert texts(user, filters=match(volumeApiName="gp3"))
    refused("AccessDeniedException", user.describe_services)


def test_the_aws_command_asks_for_prices(account: Account) -> None:
    asked = "Type=EQUALS,Field=usagetype,Value=EBS:VolumeUsage.gp3"
    found = account.aws("pricing", "get-products", "--service-code", "AmazonEC2", "--filters", asked)["PriceList"]
    [one] = [json.loads(text) for text in found]
    assert price(one) == {"USD": "0.0120000000"}


def test_the_aws_command_gets_a_price_list_as_a_file(account: Account, tmp_path) -> None:
    asked = ("--service-code", "AmazonEC2", "--currency-code", "USD", "--effective-date", "2026-11-30")
    [listed] = account.aws("pricing", "list-price-lists", *asked)["PriceLists"]
    assert listed["FileFormats"] == ["csv", "json"]
    arn = ("--price-list-arn", listed["PriceListArn"])
    url = account.aws("pricing", "get-price-list-file-url", *arn, "--file-format", "json")["Url"]
    assert url.startswith(f"{account.endpoint}/PriceLists/aws/AmazonEC2/USD/")
    with urllib.request.urlopen(url) as answer:
        found = json.load(answer)
    usages = {one["attributes"]["usagetype"] for one in found["products"].values()}
    assert {"BoxUsage:t3.micro", "EBS:VolumeUsage.gp3"} <= usages
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url.partition("?")[0])


def test_each_tier_is_a_dimension_of_the_price(api, prices):
    def add(tx):
        tiers = '{begin = "0", end = "10.5", price = "0"}, {begin = "10.5", end = "Inf", price = "0.04"}'
        text = f'currency = "USD"\n[[price]]\nusage = "NatGateway-Hours"\ntiers = [{tiers}]'
        tx.session.add(PriceBook(valid_from=int((now() - timedelta(days=1)).timestamp()), text=text))

    api.run(add)
    [one] = texts(prices)
    [term] = one["terms"]["OnDemand"].values()
    found = term["priceDimensions"]
    assert all(key == dimension["rateCode"] for key, dimension in found.items())
    assert [(each["beginRange"], each["endRange"], each["pricePerUnit"]) for each in found.values()] == [
        ("0", "10.5", {"USD": "0.0000000000"}),
        ("10.5", "Inf", {"USD": "0.0400000000"}),
    ]
    assert next(iter(found)).endswith(".JRTCKXETXF.6YS6EN2CT7")
    assert [*found.values()][1]["description"] == "$0.04 per NAT Gateway Hour, from 10.5 to Inf of a month"
