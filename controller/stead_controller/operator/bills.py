"""The `Bills` service."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import grpc

from stead_controller.clock import Clock
from stead_controller.errors import InvalidParameter
from stead_controller.metering import price_book, price_books, priced_uses, skus
from stead_controller.metering.months import require_time
from stead_controller.metering.priced_uses import PricedUse
from stead_controller.metering.usage_sums import MOST_TAGS, Question
from stead_controller.operator.transactions import Transactions
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import accounts
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc


class Bills(operator_pb2_grpc.BillsServicer):
    """Tells what accounts used and what it costs, and keeps the price books."""

    def __init__(self, database: Transactions, clock: Clock, region: str) -> None:
        """Store the dependencies."""
        self._database = database
        self._clock = clock
        self._region = region

    async def GetBill(  # noqa: N802 - the name of the RPC
        self, request: pb.GetBillRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetBillResponse:
        """Price what was used in some time, month by month: a GiB for a month costs the same in each."""
        del context

        def look(tx: Transaction) -> pb.GetBillResponse:
            account_id = accounts.find_account(tx, request.account_id).id if request.account_id else ""
            names = {account.id: account.name for account in accounts.list_accounts(tx)}
            found = _uses(tx, request, account_id, self._region, self._clock())
            return pb.GetBillResponse(
                lines=(_message(priced, request.tag_keys, names, self._region) for priced in found)
            )

        return await self._database.run(look, writes=False)

    async def ListPriceBooks(  # noqa: N802 - the name of the RPC
        self, request: pb.ListPriceBooksRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListPriceBooksResponse:
        """List the price books."""
        del request, context
        found = await self._database.run(price_books.all_of, writes=False)
        return pb.ListPriceBooksResponse(
            books=[
                pb.StoredPriceBook(
                    valid_from=book.valid_from, text=book.text, currency=price_book.parse(book.text).currency
                )
                for book in found
            ]
        )

    async def AddPriceBook(  # noqa: N802 - the name of the RPC
        self, request: pb.AddPriceBookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AddPriceBookResponse:
        """Add a price book."""
        del context
        valid_from = request.valid_from if request.HasField("valid_from") else None
        if valid_from is not None:
            require_time(valid_from)
        made = await self._database.run(lambda tx: price_books.add(tx, request.text, valid_from, self._clock()))
        return pb.AddPriceBookResponse(valid_from=made.valid_from)

    async def ListUses(  # noqa: N802 - the name of the RPC
        self, request: pb.ListUsesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListUsesResponse:
        """List what a price book may have prices of."""
        del request, context
        return pb.ListUsesResponse(names=await self._database.run(price_books.names_of_uses, writes=False))


def _uses(
    tx: Transaction, request: pb.GetBillRequest, account_id: str, region: str, now: datetime
) -> Iterator[PricedUse]:
    require_time(request.begin)
    require_time(request.end)
    if request.begin >= request.end:
        raise InvalidParameter("The time of a bill must end after it begins.")
    book = price_book.parse(request.prices) if request.HasField("prices") else None
    end = min(request.end, int(now.timestamp()) + 1)
    if request.begin >= end:
        return
    tags = tuple(request.tag_keys)
    if len(set(tags)) < len(tags) or len(tags) > MOST_TAGS:
        raise InvalidParameter(f"A bill can be divided by {MOST_TAGS} tag keys at most, each once.")
    asked = Question(account_id, by_zone=request.by_zone, by_resource=request.by_resource, tags=tags)
    yield from priced_uses.between(tx, (request.begin, end), now, asked, region, book)


def _message(priced: PricedUse, keys: Sequence[str], names: Mapping[str, str], region: str) -> pb.BillLine:
    line = priced.line
    sku = skus.sku_of(region, line.used.usage, line.used.operation)
    return pb.BillLine(
        account_id=line.used.account_id,
        service=line.service,
        usage=line.used.usage,
        operation=line.used.operation,
        resource_id=line.used.resource_id,
        quantity=_decimal(line.quantity),
        unit=line.unit,
        price=_price(line.rate.price),
        contracted_price=_price(line.rate.contracted),
        cost=_decimal(line.cost),
        list_cost=_decimal(line.list_cost),
        currency=priced.currency,
        begin=priced.period.begin,
        end=priced.period.end,
        zone=line.used.zone,
        tags={key: value for key, value in zip(keys, line.used.tags, strict=True) if value is not None},
        account_name=names.get(line.used.account_id, ""),
        sku=sku,
        sku_price=skus.price_id_of(sku, line.rate.tier),
    )


def _decimal(number: Fraction) -> str:
    """Write a number, exactly or with 28 digits."""
    return f"{Decimal(number.numerator) / number.denominator:f}"


def _price(price: Decimal | None) -> str:
    return "" if price is None else f"{price:f}"
