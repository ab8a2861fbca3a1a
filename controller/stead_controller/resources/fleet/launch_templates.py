"""Create, find, change and delete launch templates.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-launch-templates.html.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, select

from stead_controller.catalog import ids
from stead_controller.db.tables import LaunchTemplate
from stead_controller.errors import (
    AlreadyExists,
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MissingParameter,
    NotFound,
)
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Condition, Selection, instant, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.fleet import launch_template_versions
from stead_controller.resources.fleet.launch_template_versions import VersionRequest
from stead_controller.resources.tags import Tagged

# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/launch-template-restrictions.html
MOST: Final = 5000
_NAME: Final = re.compile(r"[a-zA-Z0-9().\-/_]{3,128}\Z")
_NO_NAME: Final = "InvalidLaunchTemplateName.NotFoundException"

CONDITIONS: Final[dict[str, Condition]] = {
    "create-time": instant(LaunchTemplate.created),
    "launch-template-name": text(LaunchTemplate.name),
}
"""All filters by name, without those about tags."""


@dataclass(frozen=True, slots=True)
class TemplateRequest:
    """A template to be made, with its first version and its tags."""

    name: str
    first: VersionRequest
    tags: Mapping[str, str]
    repeatable: Repeatable


type Template = LaunchTemplate
"""The row of a template."""


@dataclass(frozen=True, slots=True)
class TemplateName:
    """How a request names a template: by its id or by its name."""

    id: str | None = None
    name: str | None = None


def create(tx: Transaction, caller: Caller, request: TemplateRequest, now: datetime) -> Tagged[LaunchTemplate]:
    """Make a template with its first version; a repeated request gets the template it made.

    Raises InvalidParameter, AlreadyExists, LimitExceeded, IdempotencyMismatch.
    """

    def make() -> str:
        return _make(tx, caller, request, now)

    made = client_tokens.once(tx, caller, request.repeatable, now, make)
    return described(tx, caller, find(tx, caller, TemplateName(made)))


def _make(tx: Transaction, caller: Caller, request: TemplateRequest, now: datetime) -> str:
    name = request.name
    if not _NAME.match(name):
        raise InvalidParameter(
            "Launch template names must be between 3 and 128 characters, and may contain letters, numbers and the "
            "characters ( ) . - / _",
            code="InvalidLaunchTemplateName.MalformedException",
        )
    mine = LaunchTemplate.account_id == caller.account_id
    if tx.session.scalar(select(LaunchTemplate.id).where(mine, LaunchTemplate.name == name)) is not None:
        raise AlreadyExists("launch-template", "Launch template name already in use.")
    there = select(LaunchTemplate.id).where(mine).limit(MOST).subquery()
    if (tx.session.scalar(select(func.count()).select_from(there)) or 0) >= MOST:
        raise LimitExceeded(f"You have reached the limit of {MOST} launch templates.")
    made = LaunchTemplate(
        id=ids.new_id("launch-template"),
        account_id=caller.account_id,
        name=name,
        created=now,
        created_by=caller.arn,
        default_version=1,
        latest_version=0,
        last_number=0,
    )
    tx.session.add(made)
    tx.session.flush()
    launch_template_versions.add(tx, caller, made, request.first, now)
    tags.create_on_launch(tx, caller, [("launch-template", made.id)], {"launch-template": request.tags})
    return made.id


def describe(tx: Transaction, caller: Caller, asked: Selection, names: Sequence[str]) -> list[Tagged[LaunchTemplate]]:
    """List the caller's templates, sorted by id; raises MalformedId, NotFound."""
    mine = LaunchTemplate.account_id == caller.account_id
    lookup.require(tx, "launch-template", LaunchTemplate.id, asked.ids, mine)
    where = [mine]
    if names:
        wanted = list(dict.fromkeys(names))
        there = set(tx.session.scalars(select(LaunchTemplate.name).where(mine, LaunchTemplate.name.in_(wanted))))
        missing = [name for name in wanted if name not in there]
        if missing:
            raise _no_such_name(missing)
        where.append(LaunchTemplate.name.in_(wanted))
    found = lookup.select_ids(tx, caller, LaunchTemplate.id, asked, *where, conditions=CONDITIONS)
    return tags.with_tags(tx, caller.account_id, lookup.rows(tx, LaunchTemplate, found))


def find(tx: Transaction, caller: Caller, asked: TemplateName) -> LaunchTemplate:
    """Return the template that a request names; raises MissingParameter, InvalidCombination, MalformedId, NotFound."""
    if asked.id is not None and asked.name is not None:
        raise InvalidCombination("The parameters LaunchTemplateId and LaunchTemplateName cannot be used together.")
    if asked.id is not None:
        return lookup.find(tx, caller, "launch-template", LaunchTemplate, asked.id)
    if asked.name is None:
        raise MissingParameter("LaunchTemplateId or LaunchTemplateName")
    query = select(LaunchTemplate).where(
        LaunchTemplate.account_id == caller.account_id, LaunchTemplate.name == asked.name
    )
    found = tx.session.scalar(query)
    if found is None:
        raise _no_such_name([asked.name])
    return found


def described(tx: Transaction, caller: Caller, template: LaunchTemplate) -> Tagged[LaunchTemplate]:
    """Return a template with its tags."""
    (found,) = tags.with_tags(tx, caller.account_id, [template])
    return found


def set_default(
    tx: Transaction, caller: Caller, asked: TemplateName, version: str, *, repeatable: Repeatable, now: datetime
) -> Tagged[LaunchTemplate]:
    """Make a version the default one; raises what `find` raises, InvalidParameter, NotFound for a version."""
    template = find(tx, caller, asked)

    def change() -> str:
        template.default_version = launch_template_versions.find(tx, template, version).number
        tx.session.flush()
        return template.id

    client_tokens.once(tx, caller, repeatable, now, change)
    return described(tx, caller, template)


def remove(tx: Transaction, caller: Caller, asked: TemplateName) -> LaunchTemplate:
    """Delete a template with all its versions, and return what it was; raises what `find` raises."""
    template = find(tx, caller, asked)
    tags.remove_all(tx, [template.id])
    launch_template_versions.remove_all(tx, template)
    tx.session.execute(
        delete(LaunchTemplate).where(LaunchTemplate.id == template.id).execution_options(synchronize_session=False)
    )
    return template


def _no_such_name(names: Sequence[str]) -> NotFound:
    message = f"The specified launch templates, with template names {', '.join(names)}, do not exist."
    if len(names) == 1:
        message = f"The specified launch template, with template name {names[0]}, does not exist."
    return NotFound("launch-template", names, code=_NO_NAME, message=message)
