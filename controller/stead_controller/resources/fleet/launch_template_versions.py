"""The versions of launch templates: numbered in order, never changed, deleted one by one or with their template.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/manage-launch-template-versions.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, case, delete, false, func, or_, select

from stead_controller.db.tables import LaunchTemplate, LaunchTemplateVersion
from stead_controller.errors import InvalidCombination, InvalidParameter, LimitExceeded, MissingParameter, NotFound
from stead_controller.request import client_tokens
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import NEVER, Condition, Selection, clauses, flag, instant, text
from stead_controller.request.transaction import Transaction

LATEST: Final = "$Latest"
DEFAULT: Final = "$Default"
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/launch-template-restrictions.html
MOST: Final = 10_000
MOST_DELETED: Final = 200
_MOST_DESCRIPTION: Final = 255
_DIGITS: Final = 9

_IS_DEFAULT: Final = case((LaunchTemplateVersion.number == LaunchTemplate.default_version, "true"), else_="false")

CONDITIONS: Final[dict[str, Condition]] = {
    "create-time": instant(LaunchTemplateVersion.created),
    "ebs-optimized": flag(LaunchTemplateVersion.ebs_optimized),
    "host-resource-group-arn": NEVER,
    "http-endpoint": text(LaunchTemplateVersion.http_endpoint),
    "http-protocol-ipv4": text(LaunchTemplateVersion.http_endpoint),  # they are one
    "http-tokens": text(LaunchTemplateVersion.http_tokens),
    "iam-instance-profile": text(LaunchTemplateVersion.profile_arn),
    "image-id": text(LaunchTemplateVersion.image_id),
    "instance-type": text(LaunchTemplateVersion.instance_type),
    "is-default-version": text(_IS_DEFAULT),
    "kernel-id": NEVER,
    "license-configuration-arn": NEVER,
    "network-card-index": NEVER,
    "ram-disk-id": NEVER,
}
"""All filters by name; versions have no tags."""


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """The values of a version's data that filters compare; None where it has none."""

    image_id: str | None
    instance_type: str | None
    profile_arn: str | None
    ebs_optimized: bool | None
    http_endpoint: str | None
    http_tokens: str | None


@dataclass(frozen=True, slots=True)
class VersionRequest:
    """A version to be made: `data` is its data as JSON, which is stored and given back unread."""

    description: str
    data: str
    facts: VersionFacts


@dataclass(frozen=True, slots=True)
class DescribedVersion:
    """A version with what its template says of it."""

    version: LaunchTemplateVersion
    template_name: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class VersionSelection:
    """Which versions a Describe asks for: of one `template` or, if it is None, the latest or default ones of all.

    `names` are numbers, `$Latest` and `$Default`; none means all. `least` and `most` are the first and the last number.
    """

    template: LaunchTemplate | None
    names: Sequence[str]
    least: str | None
    most: str | None


@dataclass(frozen=True, slots=True)
class Deletion:
    """What became of a version that was to be deleted: `failure` says why it is still there, or was not there."""

    number: int
    failure: str | None = None
    is_absent: bool = False


def create(
    tx: Transaction,
    caller: Caller,
    template: LaunchTemplate,
    asked: VersionRequest,
    *,
    repeatable: Repeatable,
    now: datetime,
) -> DescribedVersion:
    """Make the next version of a template; a repeated request gets the version it made.

    Raises what `add` raises, IdempotencyMismatch, and NotFound if that version was deleted since.
    """

    def make() -> str:
        return f"{template.id}:{add(tx, caller, template, asked, now).version.number}"

    made = client_tokens.once(tx, caller, repeatable, now, make)
    return described(template, find(tx, template, made.rpartition(":")[2]))


def add(
    tx: Transaction, caller: Caller, template: LaunchTemplate, asked: VersionRequest, now: datetime
) -> DescribedVersion:
    """Make the next version of a template; raises InvalidParameter for a long description, LimitExceeded."""
    if len(asked.description) > _MOST_DESCRIPTION:
        raise InvalidParameter(f"Version descriptions have at most {_MOST_DESCRIPTION} characters.")
    mine = _of(template)
    if (tx.session.scalar(select(func.count()).select_from(LaunchTemplateVersion).where(mine)) or 0) >= MOST:
        raise LimitExceeded(f"You have reached the limit of {MOST} versions of the launch template {template.id}.")
    template.last_number += 1
    template.latest_version = template.last_number
    facts = asked.facts
    version = LaunchTemplateVersion(
        template_id=template.id,
        number=template.last_number,
        account_id=caller.account_id,
        description=asked.description,
        created=now,
        created_by=caller.arn,
        data=asked.data,
        image_id=facts.image_id,
        instance_type=facts.instance_type,
        profile_arn=facts.profile_arn,
        ebs_optimized=facts.ebs_optimized,
        http_endpoint=facts.http_endpoint,
        http_tokens=facts.http_tokens,
    )
    tx.session.add(version)
    tx.session.flush()
    return described(template, version)


def described(template: LaunchTemplate, version: LaunchTemplateVersion) -> DescribedVersion:
    """Return a version with what its template says of it."""
    return DescribedVersion(version, template.name, version.number == template.default_version)


def find(tx: Transaction, template: LaunchTemplate, name: str | None) -> LaunchTemplateVersion:
    """Return a template's version by its number, `$Latest` or `$Default`, which None stands for.

    Raises InvalidParameter for what is none of these, NotFound.
    """
    number = _number(template, name or DEFAULT)
    found = tx.session.get(LaunchTemplateVersion, (template.id, number))
    if found is None:
        raise _absent(template, number)
    return found


def describe(tx: Transaction, caller: Caller, asked: VersionSelection, page: Selection) -> list[DescribedVersion]:
    """List versions: by template, the newest first; `page.after` is a template's id and a number.

    Raises MissingParameter and InvalidCombination for names that go not with the rest, InvalidParameter, NotFound.
    """
    query = (
        select(LaunchTemplateVersion, LaunchTemplate)
        .join(LaunchTemplate, LaunchTemplate.id == LaunchTemplateVersion.template_id)
        .where(
            LaunchTemplateVersion.account_id == caller.account_id,
            *_chosen(tx, asked),
            *clauses(tx, caller, page.filters, CONDITIONS, LaunchTemplateVersion.template_id),
        )
        .order_by(LaunchTemplateVersion.template_id, LaunchTemplateVersion.number.desc())
    )
    if page.after is not None:
        template_id, number = page.after
        later = and_(LaunchTemplateVersion.template_id == template_id, LaunchTemplateVersion.number < int(number))
        query = query.where(or_(LaunchTemplateVersion.template_id > template_id, later))
    if page.limit is not None:
        query = query.limit(page.limit)
    return [described(template, version) for version, template in tx.session.execute(query)]


def _chosen(tx: Transaction, asked: VersionSelection) -> list[ColumnElement[bool]]:
    """Return the conditions of a selection."""
    bounds = [bound for bound in (asked.least, asked.most) if bound is not None]
    if asked.names and bounds:
        raise InvalidCombination("The parameter Versions cannot be used with the parameters MinVersion and MaxVersion.")
    template = asked.template
    if template is None:
        return [_of_all(asked.names)]
    chosen = [_of(template)]
    if asked.names:
        chosen.append(
            LaunchTemplateVersion.number.in_([find(tx, template, name).number for name in dict.fromkeys(asked.names)])
        )
    if asked.least is not None:
        chosen.append(LaunchTemplateVersion.number >= _number(template, asked.least))
    if asked.most is not None:
        chosen.append(LaunchTemplateVersion.number <= _number(template, asked.most))
    return chosen


def _of_all(names: Sequence[str]) -> ColumnElement[bool]:
    """Choose the latest and the default versions of all templates."""
    if not names:
        raise MissingParameter("LaunchTemplateId or LaunchTemplateName")
    if not {*names} <= {LATEST, DEFAULT}:
        raise InvalidCombination(
            f"Without a launch template, the versions can only be {LATEST} and {DEFAULT}: numbers are those of one."
        )
    chosen: list[ColumnElement[bool]] = [false()]
    if LATEST in names:
        chosen.append(LaunchTemplateVersion.number == LaunchTemplate.latest_version)
    if DEFAULT in names:
        chosen.append(LaunchTemplateVersion.number == LaunchTemplate.default_version)
    return or_(*chosen)


def remove(tx: Transaction, template: LaunchTemplate, names: Sequence[str]) -> list[Deletion]:
    """Delete versions by their numbers, each by itself; the default one stays, and says so.

    Raises InvalidParameter for too many, and for a text that is no number.
    """
    if len(names) > MOST_DELETED:
        raise InvalidParameter(f"At most {MOST_DELETED} versions can be deleted in one request.")
    done = [_remove(tx, template, number) for number in dict.fromkeys(map(_digits, names))]
    latest = tx.session.scalar(select(func.max(LaunchTemplateVersion.number)).where(_of(template)))
    template.latest_version = latest or 0
    tx.session.flush()
    return done


def _remove(tx: Transaction, template: LaunchTemplate, number: int) -> Deletion:
    if number == template.default_version:
        why = f"The default version {number} cannot be deleted: assign a different version as the default first."
        return Deletion(number, why)
    gone = tx.session.execute(
        delete(LaunchTemplateVersion)
        .where(_of(template), LaunchTemplateVersion.number == number)
        .returning(LaunchTemplateVersion.number)
    ).first()
    if gone is None:
        return Deletion(number, _absent(template, number).message, is_absent=True)
    return Deletion(number)


def remove_all(tx: Transaction, template: LaunchTemplate) -> None:
    """Delete all versions of a template."""
    tx.session.execute(delete(LaunchTemplateVersion).where(_of(template)).execution_options(synchronize_session=False))


def _of(template: LaunchTemplate) -> ColumnElement[bool]:
    return LaunchTemplateVersion.template_id == template.id


def _number(template: LaunchTemplate, name: str) -> int:
    if name == LATEST:
        return template.latest_version
    if name == DEFAULT:
        return template.default_version
    return _digits(name)


def _digits(name: str) -> int:
    if not (name.isascii() and name.isdigit() and len(name) <= _DIGITS):
        raise InvalidParameter(f"Invalid launch template version '{name}'. Expecting a number, {LATEST} or {DEFAULT}.")
    return int(name)


def _absent(template: LaunchTemplate, number: int) -> NotFound:
    message = f"Could not find the specified version {number} for the launch template with ID {template.id}."
    code = "InvalidLaunchTemplateId.VersionNotFound"
    return NotFound("launch-template", str(number), code=code, message=message)
