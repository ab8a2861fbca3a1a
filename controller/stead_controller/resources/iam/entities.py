"""Find users, groups, roles and instance profiles by their names, which are unique regardless of case."""

from typing import Any, Final

from sqlalchemy import select

from stead_controller.db.tables import IamGroup, IamInstanceProfile, IamRole, IamUser
from stead_controller.errors import AlreadyExists, InvalidParameter, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import iam_names

type Principal = IamUser | IamGroup | IamRole
type Entity = Principal | IamInstanceProfile

_MODELS: Final[dict[str, type[Entity]]] = {
    "user": IamUser,
    "group": IamGroup,
    "role": IamRole,
    "instance-profile": IamInstanceProfile,
}
_MEMBERS: Final = {
    "user": "userName",
    "group": "groupName",
    "role": "roleName",
    "instance-profile": "instanceProfileName",
}
_KINDS: Final = {model: kind for kind, model in _MODELS.items()}


def find_user(tx: Transaction, caller: Caller, name: str) -> IamUser:
    """One of the caller's account's users; raises NotFound, InvalidParameter."""
    return _find(tx, caller, IamUser, name)


def find_group(tx: Transaction, caller: Caller, name: str) -> IamGroup:
    """One of the caller's account's groups; raises NotFound, InvalidParameter."""
    return _find(tx, caller, IamGroup, name)


def find_role(tx: Transaction, caller: Caller, name: str) -> IamRole:
    """One of the caller's account's roles; raises NotFound, InvalidParameter."""
    return _find(tx, caller, IamRole, name)


def find_instance_profile(tx: Transaction, caller: Caller, name: str) -> IamInstanceProfile:
    """One of the caller's account's instance profiles; raises NotFound, InvalidParameter."""
    return _find(tx, caller, IamInstanceProfile, name)


def find_principal(tx: Transaction, caller: Caller, kind: str, name: str) -> Principal:
    """A user, group or role of the caller's account; raises NotFound, InvalidParameter."""
    match kind:
        case "user":
            return find_user(tx, caller, name)
        case "group":
            return find_group(tx, caller, name)
    return find_role(tx, caller, name)


def own_name(caller: Caller, name: str | None) -> str:
    """Return the name in the request, or else the caller's own; raises InvalidParameter if the caller is not a user."""
    if name is not None:
        return name
    if not caller.user_name:
        raise InvalidParameter("Must specify userName when calling with non-User credentials")
    return caller.user_name


def arn_of(entity: Entity) -> str:
    """The ARN of a row."""
    return iam_names.arn(entity.account_id, kind_of(entity), entity.path, entity.name)


def kind_of(entity: Entity) -> str:
    """The kind of a row, as in ARNs."""
    return _KINDS[type(entity)]


def check_new_name(tx: Transaction, caller: Caller, kind: str, name: str, *, but: str = "") -> str:
    """Return the name for a new row; raises InvalidParameter, or AlreadyExists unless the row `but` has it."""
    iam_names.check_name(_MEMBERS[kind], name)
    model: Any = _MODELS[kind]
    taken = tx.session.scalar(
        select(model.id).where(model.account_id == caller.account_id, model.name_lower == name.lower())
    )
    if taken is not None and taken != but:
        title = "Instance Profile" if kind == "instance-profile" else kind.capitalize()
        words = f"{title} {name} already exists." if " " in title else f"{title} with name {name} already exists."
        raise AlreadyExists(f"iam-{kind}", words)
    return name


def _find[Row: (IamUser, IamGroup, IamRole, IamInstanceProfile)](
    tx: Transaction, caller: Caller, model: type[Row], name: str
) -> Row:
    kind = _KINDS[model]
    iam_names.check_name(_MEMBERS[kind], name)
    found = tx.session.scalar(
        select(model).where(model.account_id == caller.account_id, model.name_lower == name.lower())
    )
    if found is None:
        what = f"Instance Profile {name}" if kind == "instance-profile" else f"The {kind} with name {name}"
        raise NotFound(f"iam-{kind}", name, message=f"{what} cannot be found.")
    return found
