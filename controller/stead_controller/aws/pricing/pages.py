"""The pages of the price list's answers: a NextToken knows the request, the price list and the place in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params
from stead_controller.errors import BadRequest

_INVALID: Final = "InvalidNextTokenException"


@dataclass(frozen=True, slots=True)
class Pages:
    """Which rows of an answer are asked for: at most `limit`, whose keys are greater than `after`."""

    limit: int
    after: str
    _known: tuple[str, str]
    _page: describe.Page

    @classmethod
    def read(cls, call: Call, params: Params, operation: str, version: str, most: int) -> "Pages":
        """Read MaxResults and NextToken, of an answer that is the same as long as its `version` is.

        Raises BadRequest for a token that is none of this request's, or of an older price list.
        """
        asked = {name: value for name, value in params.items() if name not in {"NextToken", "MaxResults"}}
        digest = describe.request_digest(asked)
        try:
            page = describe.page(call, params, operation, at_least=1, at_most=most, default=most)
        except BadRequest as error:
            raise BadRequest(error.message, code=_INVALID) from error
        after = ""
        if page.after is not None:
            of_request, of_version, after = page.after
            if of_request != digest:
                raise BadRequest("The token is of another request.", code=_INVALID)
            if of_version != version:
                raise BadRequest("The prices have changed since the token was given.", code="ExpiredNextTokenException")
        return cls(page.limit or most, after, (digest, version), page)

    def cut[Row](self, rows: Sequence[Row], key: Callable[[Row], str]) -> tuple[Sequence[Row], str | None]:
        """Return the rows to show of those that are sorted by a key, and the token if more follow."""
        left = [row for row in rows if key(row) > self.after]
        shown = left[: self.limit]
        return shown, self._page.token((*self._known, key(shown[-1]))) if len(left) > self.limit else None
