"""ListPriceLists, GetPriceListFileUrl, and the page that answers with the files themselves.

AWS's URLs are for anybody; these are signed, and end after a while, since prices are for those who have an account.
"""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from aiohttp import web

from stead_controller.aws import sealed_tokens
from stead_controller.aws.app import Transactions
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.pricing import price_files, price_list
from stead_controller.aws.pricing.pages import Pages
from stead_controller.aws.pricing.price_list import PriceList
from stead_controller.clock import Clock
from stead_controller.errors import InvalidParameter, NotFound, Unavailable
from stead_controller.metering import price_books
from stead_controller.request.transaction import Transaction

PATH: Final = "/PriceLists/"
"""How the paths of files begin; no bucket's name has capitals."""
LIFETIME: Final = timedelta(hours=1)
_MOST: Final = 100
_ARN: Final = "arn:aws:pricing:::price-list/"
_NAME: Final = re.compile(r"aws/([A-Za-z0-9]{1,32})/([A-Z]{3})/([0-9]{14})/([a-z0-9-]{1,64})")
_FILE: Final = "/index."


@dataclass(frozen=True, slots=True)
class _Name:
    """What names a price list: a service, its currency, its version and a region."""

    service: str
    currency: str
    version: str
    region: str

    @classmethod
    def read(cls, text: str) -> "_Name | None":
        """Read a name; None if it is none."""
        found = _NAME.fullmatch(text)
        return cls(*found.groups()) if found else None

    def __str__(self) -> str:
        """Write the name as ARNs and paths have it."""
        return f"aws/{self.service}/{self.currency}/{self.version}/{self.region}"

    def find(self, tx: Transaction, region: str) -> PriceList:
        """Return the price list; raises NotFound if it is none of this cloud's."""
        for book in price_books.all_of(tx):
            if price_list.version_of(book.valid_from) == self.version:
                listed = price_list.of_book(tx, book, region)
                price_list.require_service(self.service)
                if listed.currency == self.currency and self.region in listed.regions:
                    return listed
        raise NotFound("price list", str(self), code="NotFoundException", message=f"There is no price list {self}.")


@operation("ListPriceLists", service="pricing", writes=False)
def list_price_lists(call: Call, params: Params) -> Result:
    """List the price lists of a service at a moment: that of this cloud's region, and of others that have prices."""
    code = price_list.require_service(params["ServiceCode"])
    listed = price_list.of_book(call.tx, price_books.current(call.tx, params["EffectiveDate"]), call.cloud.region)
    pages = Pages.read(call, params, "ListPriceLists", listed.version, _MOST)
    found = [
        {
            "PriceListArn": f"{_ARN}{_Name(code, listed.currency, listed.file_version, region)}",
            "RegionCode": region,
            "CurrencyCode": listed.currency,
            "FileFormats": list(price_files.FORMATS),
        }
        for region in sorted(listed.regions)
        if params.get("RegionCode") in {None, region} and params["CurrencyCode"] == listed.currency
    ]
    shown, token = pages.cut(found, lambda one: str(one["PriceListArn"]))
    return {"PriceLists": list(shown), "NextToken": token}


@operation("GetPriceListFileUrl", service="pricing", writes=False)
def get_price_list_file_url(call: Call, params: Params) -> Result:
    """Return where the file of a price list is for an hour."""
    file_format = params["FileFormat"].lower()
    if file_format not in price_files.FORMATS:
        there_are = ", ".join(price_files.FORMATS)
        raise InvalidParameter(f"Input Parameters are invalid. FileFormat must be one of {there_are}.")
    arn = params["PriceListArn"]
    name = _Name.read(arn.removeprefix(_ARN))
    if name is None or not arn.startswith(_ARN):
        raise NotFound("price list", arn, code="NotFoundException", message=f"There is no price list {arn}.")
    name.find(call.tx, call.cloud.region)
    path = f"{PATH}{name}{_FILE}{file_format}"
    token = sealed_tokens.seal(call.page_key, path, b"", call.now + LIFETIME)
    scheme = "https" if call.secure else "http"
    return {"Url": f"{scheme}://{call.host}{path}?Token={quote(token, safe='')}"}


@dataclass(frozen=True, slots=True)
class Files:
    """Answers with the files at the URLs that were given; `key` is that of `Call.page_key`."""

    transactions: Transactions
    region: str
    clock: Clock
    key: bytes = field(repr=False)

    async def serve(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer with a file, or 403 without a token for it that is still valid, 404 for a list that is not there."""
        if http.method not in ("GET", "HEAD"):
            return web.Response(status=405)
        try:
            sealed_tokens.open_token(self.key, http.path, http.query.get("Token", ""), self.clock())
        except InvalidParameter as error:
            return web.Response(status=403, text=error.message)
        text, _, file_format = http.path.removeprefix(PATH).rpartition(_FILE)
        name = _Name.read(text)
        if name is None or file_format not in price_files.FORMATS:
            return web.Response(status=404)
        try:
            content = await self.transactions.run(
                lambda tx: price_files.write(name.find(tx, self.region), name.service, file_format, name.region),
                writes=False,
            )
        except NotFound as error:
            return web.Response(status=404, text=error.message)
        except Unavailable as error:
            return web.Response(status=503, text=error.message)
        return web.Response(body=content, content_type=price_files.FORMATS[file_format], charset="utf-8")
