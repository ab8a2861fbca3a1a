"""The pages of Cost Explorer's answers: a NextPageToken knows the request, the time of the first page and the place."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params
from stead_controller.errors import BadRequest

_FOLLOWS = "NextPageToken"


@dataclass(frozen=True, slots=True)
class Pages:
    """Which rows of an answer are asked for: those `after` so many, as of the time of the first page."""

    now: datetime
    after: int
    _digest: str
    _page: describe.Page

    @classmethod
    def read(cls, call: Call, params: Params, operation: str) -> "Pages":
        """Read the token; raises BadRequest for one of another request."""
        digest = describe.request_digest({name: value for name, value in params.items() if name != _FOLLOWS})
        token = params.get(_FOLLOWS)
        try:
            page = describe.page(call, {"NextToken": token}, operation)
        except BadRequest as error:
            raise BadRequest(error.message, code="InvalidNextTokenException") from error
        if page.after is None:
            return cls(call.now, 0, digest, page)
        of, moment, after = page.after
        if of != digest:
            raise BadRequest(
                "Your request parameters changed between pages. Try again with the old parameters or without a "
                "pagination token.",
                code="RequestChangedException",
            )
        return cls(datetime.fromtimestamp(int(moment), UTC), int(after), digest, page)

    def cut[Row](self, rows: Sequence[Row], limit: int) -> tuple[Sequence[Row], str | None]:
        """Return the rows to show, and the token if more follow."""
        end = self.after + limit
        more = len(rows) > end
        token = self._page.token((self._digest, str(int(self.now.timestamp())), str(end))) if more else None
        return rows[self.after : end], token
