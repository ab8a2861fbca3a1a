"""Parameters and results of an operation as CloudTrail's requestParameters and responseElements, with secrets masked.

Names begin in lower case. EC2's are those of its XML: results as in the model, lists of parameters as sets with
`items`, such as `{"volumeSet": {"items": [{"volumeId": "vol-…"}]}}`. Members that the model marks as sensitive or that
are in `_SECRETS` or `_SECRETS_OF`, and all blobs, are masked; `_PUBLIC_BLOBS` are not secret. Each shape is compiled
to a function once.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

from botocore.model import ListShape, MapShape, Shape, StructureShape

from stead_controller.aws.protocol.models import load_service

Draw = Callable[[Any], Any]

_MASKS: Final = {"ec2": "<sensitiveDataRemoved>"}
_MASK: Final = "HIDDEN_DUE_TO_SECURITY_REASONS"
# Members whose value is a secret, although not every model marks it as sensitive.
_SECRETS: Final = frozenset(
    {
        "UserData",
        "KeyMaterial",
        "PasswordData",
        "SecretAccessKey",
        "SessionToken",
        "Password",
        "OldPassword",
        "NewPassword",
        "PrivateKey",
        "PreSharedKey",
        "WebIdentityToken",
        "SAMLAssertion",
        "TokenCode",
        "AuthenticationCode1",
        "AuthenticationCode2",
        "BlockToken",
    }
)
# Of one service alone: what is published, and URLs, which may have keys of their receivers in them.
_SECRETS_OF: Final = {"sns": frozenset({"Endpoint", "Message", "MessageAttributes", "Subject", "Token"})}
_PUBLIC_BLOBS: Final = frozenset({"PublicKeyMaterial"})
# EC2's names for sets of parameters and their items, where they are not derived from the parameter's name.
_EC2_SETS: Final[dict[str, tuple[str, str]]] = {
    "InstanceIds": ("instancesSet", "instanceId"),
    "Resources": ("resourcesSet", "resourceId"),
    "GroupIds": ("groupSet", "groupId"),
    "SecurityGroupIds": ("groupSet", "groupId"),
}


def request_parameters(service: str, operation: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return an operation's parameters; None if there are none."""
    draw = _of_operation(service, operation)[0]
    return (draw(params) or None) if draw is not None else None


def response_elements(service: str, operation: str, result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return an operation's result; None if it is empty."""
    draw = _of_operation(service, operation)[1]
    return (draw(result) or None) if draw is not None else None


@cache
def _of_operation(service: str, operation: str) -> tuple[Draw | None, Draw | None]:
    model = load_service(service).operation(operation)
    asked = _Shapes(service, asked=True).draw(model.input_shape) if model.input_shape else None
    answered = _Shapes(service, asked=False).draw(model.output_shape) if model.output_shape else None
    return asked, answered


class _Shapes:
    """Compiles shapes to functions; a recursive shape is referred to by its name."""

    def __init__(self, service: str, *, asked: bool) -> None:
        self._mask = _MASKS.get(service, _MASK)
        self._secrets = _SECRETS | _SECRETS_OF.get(service, frozenset())
        self._ec2 = service == "ec2"
        self._asked = asked
        self._known: dict[str, Draw] = {}

    def draw(self, shape: Shape) -> Draw:
        if shape.metadata.get("sensitive"):
            return self._hide
        if isinstance(shape, StructureShape):
            return self._structure(shape)
        if isinstance(shape, ListShape):
            member = self.draw(shape.member)
            if self._ec2:
                return lambda value: {"items": [member(item) for item in value]} if value else {}
            return lambda value: [member(item) for item in value]
        if isinstance(shape, MapShape):
            value_of = self.draw(shape.value)
            return lambda value: {key: value_of(item) for key, item in value.items()}
        if shape.type_name == "timestamp":
            return _milliseconds if self._ec2 else _iso
        if shape.type_name == "blob":
            return self._hide
        return _itself

    def _hide(self, _value: Any) -> str:
        return self._mask

    def _structure(self, shape: StructureShape) -> Draw:
        known = self._known.get(shape.name)
        if known is not None:
            return known
        members: dict[str, tuple[str, Draw]] = {}

        def draw(value: Mapping[str, Any]) -> dict[str, Any]:
            drawn = {}
            for name, item in value.items():
                if item is not None and name in members:
                    key, draw_item = members[name]
                    drawn[key] = draw_item(item)
            return drawn

        self._known[shape.name] = draw
        for name, member in shape.members.items():
            members[name] = self._member(name, member)
        return draw

    def _member(self, name: str, shape: Shape) -> tuple[str, Draw]:
        key = name[:1].lower() + name[1:]
        if name in self._secrets:
            return key, self._hide
        if name in _PUBLIC_BLOBS:
            return key, _base64
        if not self._ec2:
            return key, self.draw(shape)
        if not self._asked:
            return str(shape.serialization.get("name", key)), self.draw(shape)
        if isinstance(shape, ListShape):
            return self._set(name, shape)
        return key, self.draw(shape)

    def _set(self, name: str, shape: ListShape) -> tuple[str, Draw]:
        """Return name and function of a list of EC2 parameters: `VolumeIds` is volumeSet, with items volumeId."""
        stem = (name[:-3] if name.endswith("Ids") else name.removesuffix("s")) or name
        stem = stem[:1].lower() + stem[1:]
        key, item_key = _EC2_SETS.get(name, (f"{stem}Set", f"{stem}Id" if name.endswith("Ids") else stem))
        if isinstance(shape.member, StructureShape):
            return key, self.draw(shape)
        member = self.draw(shape.member)
        return key, lambda value: {"items": [{item_key: member(item)} for item in value]} if value else {}


def _itself(value: Any) -> Any:
    return value


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


def _milliseconds(value: datetime) -> int:
    return round(value.timestamp() * 1000)


def _iso(value: datetime) -> str:
    return value.isoformat(timespec="seconds").replace("+00:00", "Z")
