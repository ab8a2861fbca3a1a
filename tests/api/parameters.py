"""Every member of every operation's input, sent one at a time with a request that is good without it.

Nothing that is sent changes anything: its transaction is always rolled back.
"""

import asyncio
import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.credentials import Credentials
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.serialize import create_serializer

from stead_controller.aws.app import AwsApp
from stead_controller.aws.authenticate import by_opened_keys
from stead_controller.aws.authorization.authorizer import PolicyAuthorizer
from stead_controller.aws.call import OPERATIONS, Call, Later, Operation, Params, Result, Then
from stead_controller.aws.protocol import cbor, codec_for
from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.protocol.models import load_service
from stead_controller.aws.reading import Path, Reading, unread
from stead_controller.aws.without_effect import accepted
from stead_controller.request.questions import HostAnswer, OfMetrics, Question
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam.key_cache import KeyCache
from stead_controller.resources.iam.policies_of_caller import policies_of
from tests.api.conftest import SECRET, Api
from tests.support.memory_metrics import MemoryMetrics

_REFUSES: Final = re.compile(r"not supported|only .* (?:is|are) supported|only supported for")
# A time to come, whenever the tests run, of a whole day.
_SOON: Final = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=2)


@dataclass(frozen=True)
class Member:
    """A value that a request may have: where, and of which shape."""

    service: str
    operation: str
    path: Path
    shape: Shape

    @property
    def name(self) -> str:
        """Its path without indices."""
        return ".".join(step for step in self.path if isinstance(step, str))

    def __str__(self) -> str:
        return f"{self.service} {self.operation} {self.name}"


@dataclass
class Probe:
    """What became of one request."""

    status: int
    code: str
    message: str
    left: set[Path] | None  # None where the operation was not called


@dataclass
class Report:
    """What became of all members."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    refused: list[Member] = field(default_factory=list)
    exempt: list[Member] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def note(self, member: Member, kind: str) -> None:
        self.counts.setdefault(member.service, Counter())[kind] += 1
        if kind in ("refused", "exempt"):
            (self.refused if kind == "refused" else self.exempt).append(member)


def members(service: str, operation: str) -> Iterator[Member]:
    """Give every scalar, list of scalars and map that an operation's input has, lists of structures with one item."""
    shape = load_service(service).operation(operation).input_shape
    if shape is not None:
        for path, leaf in _leaves(shape, (), ()):
            yield Member(service, operation, path, leaf)


def _leaves(shape: Shape, path: Path, inside: tuple[str, ...]) -> Iterator[tuple[Path, Shape]]:
    if isinstance(shape, StructureShape):
        if shape.name not in inside:
            for name, member in shape.members.items():
                yield from _leaves(member, (*path, name), (*inside, shape.name))
    elif isinstance(shape, ListShape) and isinstance(shape.member, StructureShape):
        yield from _leaves(shape.member, (*path, 0), inside)
    else:
        yield path, shape


class Rollback:
    """Transactions that are rolled back, unless `commits` is set; in the calling thread, which nobody else waits for."""

    def __init__(self, api: Api) -> None:
        self.database = api.database
        self.commits = False

    async def run[T](
        self,
        function: Callable[[Transaction], T],
        *,
        writes: bool = True,
        dry_run: bool = False,
        within: float = 0,
    ) -> T:
        return self.database.run_blocking(function, writes=writes, dry_run=dry_run or not self.commits)


class Prober:
    """Sends requests of the first tenant's root and sees what their operations read of them."""

    def __init__(self, api: Api, loop: asyncio.Runner) -> None:
        self.transactions = Rollback(api)
        self.loop = loop
        self.seen: Reading | None = None
        self.serializers: dict[str, Any] = {}
        tenant = api.world.one.caller
        self.credentials = Credentials(tenant.access_key_id, SECRET)
        self.app = AwsApp(
            transactions=self.transactions,
            find_key=by_opened_keys(KeyCache(api.database, api.world.cloud.sealer).find),
            cloud=api.world.cloud,
            page_key=b"page key",
            authorizer=PolicyAuthorizer(policies_of),
            ask=self.ask,
            operations={key: self.watched(one) for key, one in OPERATIONS.items()},
        )

    def watched(self, operation: Operation) -> Operation:
        """The same operation, whose reading is seen."""

        def handler(call: Call, params: Params) -> Result | Later | Then:
            assert isinstance(params, Reading)
            self.seen = params
            return operation.handler(call, params)

        return replace(operation, handler=handler)

    async def ask(self, question: Question) -> HostAnswer:
        """Answer as a host would, and as a store of metrics without data."""
        if isinstance(question, OfMetrics):
            return HostAnswer(b"", datetime.now(UTC), found=await question.ask(MemoryMetrics()))
        return HostAnswer(b"", datetime.now(UTC))

    def send(self, service: str, operation: str, params: Mapping[str, Any]) -> Probe:
        """Send a request as botocore writes it."""
        self.seen = None
        response = self.loop.run(self.app.handle(self._request(service, operation, params)))
        left = None if self.seen is None else {path for path, _ in unread(self.seen)}
        code, message = _error(response)
        return Probe(response.status, code, message, left)

    def _request(self, service: str, operation: str, params: Mapping[str, Any]) -> Request:
        loaded = load_service(service)
        model: OperationModel = loaded.operation(operation)
        if service not in self.serializers:
            self.serializers[service] = create_serializer(loaded.model.metadata["protocol"], include_validation=False)
        written = self.serializers[service].serialize_to_request(copy.deepcopy(dict(params)), model)
        written["context"] = {}
        prepare_request_dict(written, endpoint_url="http://stead.example")
        aws = create_request_object(written)
        signing_name = loaded.signing_name
        SigV4Auth(self.credentials, signing_name, "us-east-1").add_auth(aws)
        prepared: Any = aws.prepare()
        parts = urlsplit(prepared.url)
        body = prepared.body or b""
        headers = [("Host", parts.netloc), *((name, _text(value)) for name, value in prepared.headers.items())]
        raw = body.encode() if isinstance(body, str) else bytes(body)
        return Request(prepared.method, parts.path, parts.query, tuple(headers), raw, "127.0.0.1")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _error(response: Response) -> tuple[str, str]:
    if response.status < 300:
        return "", ""
    if response.content_type == "application/cbor":
        found = cbor.decode(response.body)
        return found["__type"], found["message"]
    text = response.body.decode()
    if text.startswith("{"):
        found = json.loads(text)
        return found["__type"], found["message"]
    code = text.partition("<Code>")[2].partition("</Code>")[0]
    return code, text.partition("<Message>")[2].partition("</Message>")[0]


def with_member(
    request: Mapping[str, Any],
    member: Member,
    value: Callable[[Path, Shape], Any],
    beside: Callable[[Path], dict[str, Any]],
) -> dict[str, Any]:
    """A request with a value for a member, with what the structures around it need."""
    changed = copy.deepcopy(dict(request))
    at: Any = changed
    shape: Shape = load_service(member.service).operation(member.operation).input_shape
    for depth, step in enumerate(member.path):
        last = depth + 1 == len(member.path)
        inner = shape.member if isinstance(shape, ListShape) else shape.members[step]  # type: ignore[attr-defined]  # what is no list is a structure
        if last:
            at[step] = value(member.path, inner)
            break
        if isinstance(at, list) and not at:
            at.append({})
        if isinstance(at, dict) and step not in at:
            at[step] = [] if isinstance(inner, ListShape) else {}
        at = at[step]
        if isinstance(inner, StructureShape):
            here = member.path[: depth + 1]
            for name, needed in beside(here).items():
                at.setdefault(name, needed)
            for name in inner.required_members:
                if name not in at:
                    at[name] = sample((*here, name), inner.members[name], value)
        shape = inner
    return changed


def sample(path: Path, shape: Shape, value: Callable[[Path, Shape], Any]) -> Any:
    """A value of any shape, structures with what they need only."""
    if isinstance(shape, StructureShape):
        return {name: sample((*path, name), shape.members[name], value) for name in shape.required_members}
    if isinstance(shape, ListShape) and isinstance(shape.member, StructureShape):
        return [sample((*path, 0), shape.member, value)]
    return value(path, shape)


def plain(shape: Shape) -> Any:
    """A value as the model has it."""
    if isinstance(shape, ListShape):
        return [plain(shape.member)]
    if isinstance(shape, MapShape):
        return {"key": plain(shape.value)}
    match shape.type_name:
        case "string" | "character":
            enum = getattr(shape, "enum", None)
            return enum[0] if enum else "text".ljust(int(shape.metadata.get("min", 0)), "x")
        case "integer" | "long":
            return max(int(shape.metadata.get("min", 1)), 1)
        case "float" | "double":
            return 1.0
        case "boolean":
            return True
        case "timestamp":
            return _SOON
        case "blob":
            return b"x"
    raise TypeError(shape.type_name)


def judge(report: Report, member: Member, probe: Probe) -> None:
    """Note what became of a member, and what must not be."""
    exemption = accepted(member.service, member.operation, member.path)
    was_read = probe.left is not None and not any(path[: len(member.path)] == member.path for path in probe.left)
    by_name = codec_for(member.service).written(member.operation, member.path)
    if probe.status >= 500:
        report.wrong.append(f"{member}: {probe.status} {probe.code}")
    elif (
        ("is not supported by this cloud" in probe.message and f" {by_name} " in probe.message)
        or probe.code == "UnsupportedOperation"
        or _REFUSES.search(probe.message)
    ):
        report.note(member, "refused")
    elif was_read or member.path == ("DryRun",):
        report.note(member, "read")
    elif probe.status < 300 and exemption is not None:
        report.note(member, "exempt")
    elif probe.status < 300:
        report.wrong.append(f"{member} is accepted, and nobody read it")
    elif exemption is not None:
        report.note(member, "exempt")
    else:
        report.wrong.append(f"{member}: who knows? {probe.code} {probe.message[:200]}")
