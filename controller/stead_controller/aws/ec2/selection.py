"""What EC2's Describe operations have in common: ids, filters and a page as input, a list and a NextToken as output."""

from collections.abc import Callable, Collection, Sequence

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result
from stead_controller.aws.describe import Key, Page
from stead_controller.request.conditions import Selection


def everything(params: Params, known: Collection[str], *, ids: str, tags: bool = True) -> Selection:
    """Read the ids and filters of an operation without pagination; `ids` names the parameter of ids."""
    return Selection(tuple(params.get(ids, ())), describe.filters(params, known, tags=tags))


def paged(
    call: Call, params: Params, operation: str, known: Collection[str], *, ids: str, at_least: int = 5, most: int = 1000
) -> tuple[Selection, Page]:
    """Read the ids, filters and page (of `at_least` and at most `most` rows) of an operation."""
    page = describe.page(call, params, operation, ids=ids, at_least=at_least, at_most=most)
    asked = Selection(tuple(params.get(ids, ())), describe.filters(params, known), page.after, page.fetch)
    return asked, page


def answered[Found](
    member: str, found: Sequence[Found], page: Page, key: Callable[[Found], Key], view: Callable[[Found], Result]
) -> Result:
    """Show one page of the results, sorted by `key`; `view` converts one to EC2's shape."""
    cut, token = page.cut(found, key)
    return {member: [view(one) for one in cut], "NextToken": token}
