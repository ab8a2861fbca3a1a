"""Files of price lists are for who was given their URL, for an hour."""

import asyncio
import json
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from stead_controller.aws import sealed_tokens
from stead_controller.aws.pricing import price_files, price_lists
from stead_controller.db.tables import PriceBook
from stead_controller.errors import NotFound, Unavailable
from tests.support.rows import NOW
from tests.support.world import database

__all__ = ["database"]

KEY = b"k" * 32
LIST = "/PriceLists/aws/AmazonVPC/USD/19700101000000/us-east-1/index."


def answer(database, path, *, token=None, method="GET", later=timedelta(0)):
    files = price_lists.Files(database, "us-east-1", lambda: NOW + later, KEY)
    if token is None:
        token = sealed_tokens.seal(KEY, path, b"", NOW + price_lists.LIFETIME)
    return asyncio.run(files.serve(SimpleNamespace(method=method, path=path, query={"Token": token})))


@pytest.mark.parametrize(("file_format", "media"), [("json", "application/json"), ("csv", "text/csv")])
def test_a_file_is_answered_until_its_url_ends(database, file_format, media):
    found = answer(database, LIST + file_format, later=price_lists.LIFETIME - timedelta(seconds=1))
    assert (found.status, found.content_type) == (200, media)
    assert b"AmazonVPC" in found.body
    assert answer(database, LIST + file_format, method="HEAD").status == 200
    assert answer(database, LIST + file_format, later=price_lists.LIFETIME + timedelta(seconds=1)).status == 403


def test_a_url_is_of_one_file_and_is_only_read(database):
    token = sealed_tokens.seal(KEY, f"{LIST}csv", b"", NOW + price_lists.LIFETIME)
    assert answer(database, f"{LIST}json", token=token).status == 403
    assert answer(database, f"{LIST}csv", token="").status == 403
    assert answer(database, f"{LIST}csv", method="PUT").status == 405


@pytest.mark.parametrize(
    "path",
    [
        f"{LIST}xml",
        f"{LIST}csv/more",
        LIST.replace("19700101000000", "20200101000000") + "csv",
        LIST.replace("USD", "EUR") + "csv",
        LIST.replace("us-east-1", "eu-west-1") + "csv",
        LIST.replace("AmazonVPC", "AmazonRDS") + "csv",
        "/PriceLists/",
    ],
)
def test_what_is_not_there_is_not_found(database, path):
    assert answer(database, path).status == 404


def test_a_database_that_is_away_is_said_to_be(database, monkeypatch):
    async def away(*_, **__):
        raise Unavailable

    monkeypatch.setattr(database, "run", away)
    assert answer(database, f"{LIST}csv").status == 503


def call(database, operation, **params):
    cloud = SimpleNamespace(region="us-east-1")
    caller = SimpleNamespace(account_id="1" * 12)
    asked = {"caller": caller, "cloud": cloud, "now": NOW, "page_key": KEY, "secure": False, "host": "cloud:8773"}
    return database.run_blocking(lambda tx: operation(SimpleNamespace(tx=tx, **asked), params))


def test_each_book_is_a_list_since_it_is_valid(database):
    began = int(NOW.timestamp())
    text = 'currency = "EUR"\n[[price]]\nusage = "PublicIPv4:*"\nprice = "0.5"'
    database.run_blocking(lambda tx: tx.session.add(PriceBook(valid_from=began, text=text)))

    def listed(at, currency, **more):
        asked = {"ServiceCode": "AmazonVPC", "EffectiveDate": at, "CurrencyCode": currency}
        return call(database, price_lists.list_price_lists, **asked, **more)["PriceLists"]

    before = NOW - timedelta(seconds=1)
    assert listed(before, "EUR") == listed(NOW, "USD") == listed(NOW, "EUR", RegionCode="eu-west-1") == []
    [old], [new] = listed(before, "USD"), listed(NOW, "EUR", RegionCode="us-east-1")
    assert old["PriceListArn"] == "arn:aws:pricing:::price-list/aws/AmazonVPC/USD/19700101000000/us-east-1"
    assert (new["RegionCode"], new["CurrencyCode"], new["FileFormats"]) == ("us-east-1", "EUR", ["csv", "json"])
    for arn, price in ((old["PriceListArn"], b'"0.0010000000","USD"'), (new["PriceListArn"], b'"0.5000000000","EUR"')):
        url = call(database, price_lists.get_price_list_file_url, PriceListArn=arn, FileFormat="CSV")["Url"]
        parts = urlsplit(url)
        assert (parts.scheme, parts.netloc) == ("http", "cloud:8773")
        [token] = parse_qs(parts.query)["Token"]
        assert price in answer(database, parts.path, token=token).body


def test_prices_of_other_regions_are_lists_of_their_own(database):
    text = 'currency = "EUR"\n' + "".join(
        f'[[price]]\nusage = "PublicIPv4:{kind}Address"\nprice = "{price}"\n{region}\n'
        for kind, price, region in (
            ("InUse", "0.5", ""),
            ("Idle", "0.5", ""),
            ("InUse", "0.6", 'region = "us-east-1"'),
            ("InUse", "0.7", 'region = "eu-central-1"'),
        )
    )
    database.run_blocking(lambda tx: tx.session.add(PriceBook(valid_from=int(NOW.timestamp()), text=text)))
    asked = {"ServiceCode": "AmazonVPC", "EffectiveDate": NOW, "CurrencyCode": "EUR"}
    found = call(database, price_lists.list_price_lists, **asked)["PriceLists"]
    assert [one["RegionCode"] for one in found] == ["eu-central-1", "us-east-1"]
    assert call(database, price_lists.list_price_lists, **asked, RegionCode="eu-central-1")["PriceLists"] == found[:1]
    assert call(database, price_lists.list_price_lists, **asked, RegionCode="eu-west-1")["PriceLists"] == []
    for one, prices in zip(found, ({"0.7000000000"}, {"0.6000000000", "0.5000000000"}), strict=True):
        arn = one["PriceListArn"]
        url = urlsplit(call(database, price_lists.get_price_list_file_url, PriceListArn=arn, FileFormat="JSON")["Url"])
        [token] = parse_qs(url.query)["Token"]
        content = json.loads(answer(database, url.path, token=token).body)
        places = {product["attributes"]["regionCode"] for product in content["products"].values()}
        assert places == {one["RegionCode"]}
        terms = [dimension for some in content["terms"]["OnDemand"].values() for term in some.values()
                 for dimension in term["priceDimensions"].values()]  # fmt: skip
        assert {dimension["pricePerUnit"]["EUR"] for dimension in terms} == prices
    absent = arn.replace("us-east-1", "eu-west-1")
    with pytest.raises(NotFound):
        call(database, price_lists.get_price_list_file_url, PriceListArn=absent, FileFormat="JSON")


def test_a_file_is_written_once_until_prices_change(database):
    price_files.write.cache_clear()
    for _ in range(3):
        answer(database, f"{LIST}csv")
    assert price_files.write.cache_info().misses == 1
