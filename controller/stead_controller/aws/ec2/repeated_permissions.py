"""Permissions of images and snapshots that a request has in both forms, the structure and the older flat parameters.

Packer repeats the accounts in UserIds, Cloud Custodian says OperationType; EC2 takes both.
"""

from typing import Final

from stead_controller.aws.call import Params
from stead_controller.errors import InvalidCombination, InvalidParameter

_LISTS: Final[dict[str, tuple[str, ...]]] = {"add": ("Add",), "remove": ("Remove",)}


def check(params: Params, structure: str, groups: str) -> None:
    """Check that the flat parameters, of which `groups` names one, say nothing else than a structure that is given.

    Raises InvalidParameter, InvalidCombination.
    """
    given, kind = params[structure], params.get("OperationType")
    if kind and kind not in _LISTS:
        raise InvalidParameter(f"Value ({kind}) for parameter operationType is invalid: add, remove.")
    used = {name: given[name] for name in ("Add", "Remove") if given.get(name)}
    meant = _LISTS[kind] if kind else tuple(used)
    named = [one for name in meant for one in used.get(name, ())]
    said = used.keys() <= set(meant)
    for parameter, member in (("UserIds", "UserId"), (groups, "Group")):
        said = said and set(params.get(parameter, ())) <= {one.get(member) for one in named}
    if not said:
        raise InvalidCombination(f"The parameters OperationType, UserIds and {groups} contradict {structure}")
