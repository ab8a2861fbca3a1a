"""The parameters of a launch by a launch template: the template's, and those of the request in their places.

"Any additional parameters that you specify for the new instance overwrite the corresponding parameters included in the
launch template": https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html. So a list or a structure
of the request replaces the template's as a whole; only tags are joined, by resource type and key.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stead_controller.aws.call import Call, Params
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.fleet import launch_template_versions, launch_templates
from stead_controller.resources.fleet.launch_templates import TemplateName

_CHOSEN: Final = "LaunchTemplate"
_TAGS: Final = "TagSpecifications"


@dataclass(frozen=True, slots=True)
class Template:
    """A version of a launch template, with its data in the shape of a request."""

    id: str
    name: str
    number: int
    data: Mapping[str, Any]

    @property
    def system_tags(self) -> dict[str, str]:
        """The tags that EC2 gives to the instances that are launched by it."""
        return {"aws:ec2launchtemplate:id": self.id, "aws:ec2launchtemplate:version": str(self.number)}


class Overridden(Mapping[str, Any]):
    """A request's own parameters over those of a template."""

    __slots__ = ("key", "own", "template")

    def __init__(self, own: Params, template: Template, *, key: str = "RunInstances") -> None:
        """Take both; what is looked up counts as read in `own`. `key` is the one in `call.chosen` of its choices."""
        self.own, self.template, self.key = own, template, key

    def __getitem__(self, name: str) -> Any:
        """Look a parameter up; raises KeyError if neither has it."""
        if name == _TAGS:
            return _joined(self.own.get(_TAGS, ()), self.template.data.get(_TAGS, ()))
        own = self.own.get(name)
        return self.template.data[name] if own is None else own

    def __contains__(self, name: object) -> bool:
        """Whether either has a parameter, which counts as read by that alone in neither."""
        return name in self.own or name in self.template.data

    def __iter__(self) -> Iterator[str]:
        """The names of all parameters."""
        return iter(dict.fromkeys((*self.own, *self.template.data)))

    def __len__(self) -> int:
        """The number of all parameters."""
        return len(set(self.own) | set(self.template.data))

    def overrides(self, *names: str) -> bool:
        """Whether the request itself gives one of these parameters."""
        return any(name in self.own for name in names)


def effective(call: Call, params: Params) -> Params | Overridden:
    """Return the parameters of a launch, with those of the template that it names, if any.

    The template is looked up once for each call. Raises what `launch_templates.find` raises, NotFound for the version.
    """
    given = params.get("LaunchTemplate")
    if not given:
        return params
    named = TemplateName(given.get("LaunchTemplateId"), given.get("LaunchTemplateName"))
    version = given.get("Version")
    if _CHOSEN not in call.chosen:
        call.chosen[_CHOSEN] = find(call.tx, call.caller, named, version)
    return Overridden(params, call.chosen[_CHOSEN])


def find(tx: Transaction, caller: Caller, named: TemplateName, version: str | None) -> Template:
    """Look a version of a template up; raises what `effective` raises."""
    template = launch_templates.find(tx, caller, named)
    found = launch_template_versions.find(tx, template, version)
    return Template(template.id, template.name, found.number, json.loads(found.data))


def _joined(own: Any, templates: Any) -> list[dict[str, Any]]:
    """Join specifications of tags: of two tags with one key, the request's remains."""
    tags: dict[Any, dict[Any, Any]] = {}
    for one in templates:
        tags.setdefault(one.get("ResourceType"), {}).update({tag.get("Key"): tag for tag in one.get("Tags", ())})
    mine = {one.get("ResourceType") for one in own}
    rest = [{"ResourceType": kind, "Tags": list(by_key.values())} for kind, by_key in tags.items() if kind not in mine]
    return [*(_with(one, tags.get(one.get("ResourceType"), {})) for one in own), *rest]


def _with(own: Any, templates: Mapping[Any, Any]) -> dict[str, Any]:
    """Add a template's tags to a specification of the request, unchanged in what it says itself."""
    given = list(own.get("Tags", ()))
    keys = {tag.get("Key") for tag in given}
    added = [tag for key, tag in templates.items() if key not in keys] if given else []
    return {"ResourceType": own.get("ResourceType"), "Tags": [*given, *added]}
