"""Pages of IAM's lists: MaxItems and Marker in, IsTruncated and Marker out."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result
from stead_controller.aws.describe import Key
from stead_controller.resources.iam import iam_names
from stead_controller.resources.iam.list_pages import Slice

_USAGES: Final = ("PermissionsPolicy", "PermissionsBoundary")


def part(page: describe.Page, params: Params) -> Slice:
    """Return the part of a list that a page shows; raises InvalidParameter for a bad PathPrefix."""
    return Slice(page.fetch, page.after, iam_names.check_path_prefix(params.get("PathPrefix")))


def listed[Row](
    call: Call,
    params: Params,
    operation: str,
    member: str,
    *,
    read: Callable[[Slice], Sequence[Row]],
    key: Callable[[Row], Key],
    view: Callable[[Row], Any],
) -> Result:
    """Answer a List operation: `read` returns the rows of a part, `key` their sort key, `view` shows one."""
    page = describe.marker_page(call, params, operation)
    return cut(member, read(part(page, params)), page, key, view)


def cut[Row](
    member: str, rows: Sequence[Row], page: describe.Page, key: Callable[[Row], Key], view: Callable[[Row], Any]
) -> Result:
    """Return a page's answer from its rows and possibly one more."""
    shown, marker = page.cut(rows, key)
    return {member: [view(row) for row in shown], "IsTruncated": marker is not None, "Marker": marker}


def cut_whole[Row](member: str, rows: Sequence[Row], page: describe.Page, view: Callable[[Row], Any]) -> Result:
    """Return a page of a complete list, which is short because of a quota; rows are numbered in the given order."""
    first = int(page.after[0]) if page.after else 0
    return cut_numbered(member, rows[first:], page, first, view)


def cut_numbered[Row](
    member: str, rows: Sequence[Row], page: describe.Page, first: int, view: Callable[[Row], Any]
) -> Result:
    """Return a page of rows with numbers, where `first` is the number before that of the first row."""
    numbered = list(enumerate(rows, first + 1))
    return cut(member, numbered, page, lambda row: (str(row[0]),), lambda row: view(row[1]))


def usages(params: Params) -> tuple[str, ...]:
    """Return the usages (permissions policy or boundary) that are asked for; raises InvalidParameter."""
    usage = params.get("PolicyUsageFilter")
    if usage is None:
        return _USAGES
    if usage not in _USAGES:
        raise iam_names.invalid("policyUsageFilter", f"Member must satisfy enum value set: [{', '.join(_USAGES)}]")
    return (usage,)
