"""Files of price lists have AWS's form: what reads AWS's reads ours, to the last digit."""

import json
from decimal import Decimal

import pytest

from stead_cli import offer_files, price_import
from stead_controller.aws.pricing import price_files, price_list, products
from stead_controller.aws.pricing.price_list import PriceList
from stead_controller.aws.pricing.products import Place
from stead_controller.catalog import instance_types
from stead_controller.metering import bills, price_book, uses
from stead_controller.metering.bills import Size

TYPES = [
    instance_types.ALL[name] for name in ("t3.micro", "t3.large", "c5d.large", "m5.metal") if name in instance_types.ALL
]
TEXT = price_book.default_text() + (
    '\n[[price]]\nusage = "NatGateway-Bytes"\ntiers = [{begin = "0", end = "10.5", price = "0"}, '
    '{begin = "10.5", end = "Inf", price = "0.123456789012345"}]\n'
)
BOOK = price_book.parse(TEXT.replace('[[price]]\nusage = "NatGateway-Bytes"\nprice = "0"\n', ""))
LISTED = PriceList(
    1_700_000_000, "USD", products.everything(BOOK, TYPES, Place("us-east-1", "US East (N. Virginia)")), frozenset()
)
SERVICES = list(bills.SERVICES)


def size_of(name):
    return Size(instance_types.ALL[name].vcpus, instance_types.ALL[name].memory)


@pytest.mark.parametrize("file_format", ["json", "csv"])
def test_what_imports_prices_of_aws_reads_ours(tmp_path, file_format):
    known = uses.NAMES | {f"{kind}{one.name}" for kind in uses.OF_TYPES if kind != "SpotUsage:" for one in TYPES}
    known |= {f"HostUsage:{one.family}" for one in TYPES if not one.whole_cores} | {"CPUCredits:t3"}
    chosen = price_import.Chosen(["us-east-1"], frozenset(known))
    files = []
    for service in SERVICES:
        path = tmp_path / f"{service}.{file_format}"
        path.write_bytes(price_files.write(LISTED, service, file_format))
        files.append(offer_files.read(path, chosen.usage_of))
    assert [(origin.service, origin.version) for origin, _ in files] == [(one, "20231114221320") for one in SERVICES]
    found = price_book.parse(price_import.price_book(["us-east-1"], files))
    assert found.currency == "USD"
    assert {name: found.find(name) for name in known} == {name: bills.price_of(name, BOOK, size_of) for name in known}
    assert found.prices["NatGateway-Bytes"][1].price == Decimal("0.123456789012345")


def test_each_file_has_what_aws_writes_above_the_prices():
    content = json.loads(price_files.write(LISTED, "AmazonVPC", "json"))
    about = [content[name] for name in ("formatVersion", "offerCode", "version", "publicationDate")]
    assert about == ["v1.0", "AmazonVPC", "20231114221320", "2023-11-14T22:13:20Z"]
    assert set(content["products"]) == set(content["terms"]["OnDemand"])
    [sku, *_] = content["products"]
    [(key, term)] = content["terms"]["OnDemand"][sku].items()
    assert key == f"{sku}.JRTCKXETXF" == f"{term['sku']}.{term['offerTermCode']}"
    lines = price_files.write(LISTED, "AmazonVPC", "csv").decode().splitlines()
    assert lines[0] == '"FormatVersion","v1.0"'
    assert lines[2:5] == [
        '"Publication Date","2023-11-14T22:13:20Z"',
        '"Version","20231114221320"',
        '"OfferCode","AmazonVPC"',
    ]
    assert lines[5].startswith(
        '"SKU","OfferTermCode","RateCode","TermType","PriceDescription","EffectiveDate","StartingRange"'
    )
    assert '"serviceCode","serviceName","Location","Location Type","Region Code"' in lines[5]


def test_an_instance_type_has_the_columns_of_aws():
    header = price_files.write(LISTED, "AmazonEC2", "csv").decode().splitlines()[5]
    for name in ("Instance Type", "vCPU", "Pre Installed S/W", "CapacityStatus", "usageType", "operation", "MarketOption",
                 "Volume API Name", "Max IOPS/volume", "Product Family", "License Model", "Operating System"):  # fmt: skip
        assert f'"{name}"' in header


def test_a_version_is_of_the_moment_from_which_it_is_valid():
    assert [price_list.version_of(at) for at in (0, 1_700_000_000)] == ["19700101000000", "20231114221320"]
