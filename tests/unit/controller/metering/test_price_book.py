"""Price books: a whole name counts before the longest beginning; one error refuses all of it."""

from decimal import Decimal

import pytest

from stead_controller.errors import InvalidParameter
from stead_controller.metering.price_book import default_text, parse
from stead_controller.metering.uses import KINDS

BOOK = """
currency = "EUR"
[[price]]
usage = "EBS:VolumeUsage*"
price = "0.1"
[[price]]
usage = "EBS:VolumeUsage.gp3"
price = "0.08"
[[price]]
usage = "EBS:VolumeUsage.s*"
price = "0.01"
"""


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        ("EBS:VolumeUsage.gp3", "0.08"),
        ("EBS:VolumeUsage.gp2", "0.1"),
        ("EBS:VolumeUsage", "0.1"),
        ("EBS:VolumeUsage.st1", "0.01"),
        ("EBS:VolumeP-IOPS.gp3", None),
    ],
)
def test_the_name_that_fits_best_counts(usage, price):
    assert parse(BOOK).find(usage) == (None if price is None else Decimal(price))


def test_the_default_prices_are_right_and_name_each_kind():
    book = parse(default_text())
    assert book.instances is not None
    by_size = {"BoxUsage:", "SpotUsage:", "DedicatedUsage:", "UnusedBox:"}
    assert all(book.find(kind) is not None for kind in KINDS if kind not in by_size)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("currency = ", "no TOML"),
        ('prices = "x"', "has prices, which is not known"),
        ("[instances]\nvcpu='1'\nmemory='1'", "lacks currency"),
        ('currency = "euro"', "no code of ISO 4217"),
        ('currency = "EURO"', "no code of ISO 4217"),
        ('currency = "eur"', "no code of ISO 4217"),
        ('currency = "ÄÖÜ"', "no code of ISO 4217"),
        ("currency = 5", "no code of ISO 4217"),
        ('currency = "EUR"\nprice = 5', "price must be a list"),
        ('currency = "EUR"\nprice = [5]', "price 1 must be a table"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"', "price 1 lacks price"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "1"\nper = 5', "price 1 has per"),
        ('currency = "EUR"\n[[price]]\nusage = "Box*:a"\nprice = "1"', "may end with"),
        ('currency = "EUR"\n[[price]]\nusage = 5\nprice = "1"', "may end with"),
        ('currency = "EUR"\n[[price]]\nusage = "Boxes:a"\nprice = "1"', "begins with none of BoxUsage:"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = 0.1', "number in quotes"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "-1"', "not negative"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "NaN"', "number in quotes"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "x"', "number in quotes"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "1000000000"', "less than 1000000000"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "1e999999"', "less than 1000000000"),
        ('currency = "EUR"\n[[price]]\nusage = "BoxUsage:a"\nprice = "1e-25"', "24 places at most"),
        (BOOK + '[[price]]\nusage = "EBS:VolumeUsage*"\nprice = "1"', "two prices for EBS:VolumeUsage"),
        ('currency = "EUR"\ninstances = 5', "instances must be a table"),
        ('currency = "EUR"\n[instances]\nvcpu = "1"', "instances lacks memory"),
        ('currency = "EUR"\n[instances]\nvcpu = "1"\nmemory = "1"\ndisk = "1"', "instances has disk"),
        ('currency = "EUR"\n[instances]\nvcpu = "1"\nmemory = "1"\nspot = "-1"', "spot of instances"),
        (f"# {'x' * (1 << 20)}", "longer than 1 MiB"),
    ],
)
def test_one_error_refuses_all_of_it(text, words):
    with pytest.raises(InvalidParameter, match=words):
        parse(text)


def test_prices_may_be_large_and_small():
    book = parse(BOOK.replace('"0.1"', '"999999999"').replace('"0.01"', f'"0.{"0" * 23}1"'))
    assert (book.find("EBS:VolumeUsage.gp2"), book.find("EBS:VolumeUsage.st1")) == (999999999, Decimal(1).scaleb(-24))
    assert parse('currency = "EUR"'.ljust(1 << 20)).currency == "EUR"
