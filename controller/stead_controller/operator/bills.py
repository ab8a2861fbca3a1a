"""The `Bills` service."""

import calendar
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import grpc

from stead_controller.clock import Clock
from stead_controller.errors import InvalidParameter, SteadError
from stead_controller.metering import bills, price_book, price_books, usage_sums
from stead_controller.metering.bills import BillLine, Size
from stead_controller.metering.usage_sums import Period
from stead_controller.operator.peers import refuse
from stead_controller.operator.transactions import Transactions
from stead_controller.request import instance_types
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import accounts
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc

_LATEST: Final = 253402300799  # the end of the year 9999
_MOST_MONTHS: Final = 1200


class Bills(operator_pb2_grpc.BillsServicer):
    """Tells what accounts used and what it costs, and keeps the price books."""

    def __init__(self, database: Transactions, clock: Clock) -> None:
        """Store the dependencies."""
        self._database = database
        self._clock = clock

    async def GetBill(  # noqa: N802 - the name of the RPC
        self, request: pb.GetBillRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetBillResponse:
        """Price what was used in some time, month by month: a GiB for a month costs the same in each."""

        def look(tx: Transaction) -> pb.GetBillResponse:
            account_id = accounts.find_account(tx, request.account_id).id if request.account_id else ""
            return pb.GetBillResponse(lines=_lines(tx, request, account_id, self._clock()))

        try:
            return await self._database.run(look, writes=False)
        except SteadError as error:
            await refuse(context, error)

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
        valid_from = request.valid_from if request.HasField("valid_from") else None
        try:
            if valid_from is not None:
                _require_time(valid_from)
            made = await self._database.run(lambda tx: price_books.add(tx, request.text, valid_from, self._clock()))
        except SteadError as error:
            await refuse(context, error)
        return pb.AddPriceBookResponse(valid_from=made.valid_from)


def _lines(tx: Transaction, request: pb.GetBillRequest, account_id: str, now: datetime) -> Iterator[pb.BillLine]:
    _require_time(request.begin)
    _require_time(request.end)
    if request.begin >= request.end:
        raise InvalidParameter("The time of a bill must end after it begins.")

    @cache
    def size_of(name: str) -> Size | None:
        found = instance_types.find(tx, name)
        return None if found is None else Size(found.vcpus, found.memory)

    for month in _months(Period(request.begin, min(request.end, int(now.timestamp()) + 1))):
        for part, book in price_books.within(tx, month):
            used = usage_sums.of_period(tx, part, now, account_id=account_id, by_resource=request.by_resource)
            for line in bills.lines(used, book, size_of, _seconds_of_month(part.begin)):
                yield _message(line, book.currency, part)


def _months(period: Period) -> Iterator[Period]:
    """Divide a period where months begin, in UTC."""
    begin = period.begin
    for _ in range(_MOST_MONTHS):
        if begin >= period.end:
            return
        first = datetime.fromtimestamp(begin, UTC).replace(day=1, hour=0, minute=0, second=0)
        end = min(period.end, int(first.timestamp()) + _seconds_of_month(begin))
        yield Period(begin, end)
        begin = end
    raise InvalidParameter("A bill can be of a hundred years at most.")


def _seconds_of_month(moment: int) -> int:
    day = datetime.fromtimestamp(moment, UTC)
    return calendar.monthrange(day.year, day.month)[1] * 86400


def _require_time(moment: int) -> None:
    if not 0 <= moment <= _LATEST:
        raise InvalidParameter(f"{moment} is no time: it must lie between the years 1970 and 9999.")


def _message(line: BillLine, currency: str, part: Period) -> pb.BillLine:
    return pb.BillLine(
        account_id=line.account_id,
        service=line.service,
        usage=line.usage,
        operation=line.operation,
        resource_id=line.resource_id,
        quantity=f"{line.quantity:f}",
        unit=line.unit,
        price="" if line.price is None else f"{line.price:f}",
        cost=f"{line.cost:f}",
        currency=currency,
        begin=part.begin,
        end=part.end,
    )
