"""A page of invoices is whole HTML, in which all that users chose is text."""

from datetime import UTC, datetime
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from stead_cli import invoice
from stead_proto.v1 import operator_pb2 as pb

BEGIN, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


class Reader(HTMLParser):
    """Which elements a page has, each closed where it must be, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in {"br", "meta"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(*lines: pb.BillLine, issuer: str = "me") -> Reader:
    reader = Reader()
    reader.feed(invoice.page(lines, BEGIN, END, issuer))
    reader.close()
    assert reader.open == []
    return reader


def line(**more: str) -> pb.BillLine:
    made = pb.BillLine(
        account_id="1", service="S", usage="U", quantity="1", unit="Hrs", price="2", cost="2", currency="EUR"
    )
    made.MergeFrom(pb.BillLine(**more))
    return made


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1, max_size=20))
def test_whatever_a_name_has_is_text(name: str) -> None:
    found = read(line(account_name=name), issuer=name)
    assert found.seen <= {
        "html", "head", "meta", "title", "style", "body", "section", "h1", "p", "br", "table", "thead", "tbody", "tfoot",
        "tr", "th", "td",
    }  # fmt: skip
    assert name in "".join(found.text)


def test_equal_uses_are_added_up_apart_by_price_and_currency() -> None:
    found = read(line(), line(cost="2.004"), line(price="3", cost="3"), line(currency="CHF"), line(account_id="2"))
    text = [each for each in found.text if each.strip()]
    cells = " ".join(text)
    assert "2.0000 Hrs 2 EUR 4.0040 EUR" in cells
    assert "1.0000 Hrs 3 EUR 3.0000 EUR" in cells
    assert "Total 2.00 CHF Total 7.00 EUR" in cells
    assert cells.index("Account 1") < cells.index("Total 7.00 EUR") < cells.index("Account 2")
    assert "Quantity Unit Price of a unit Cost" in cells
