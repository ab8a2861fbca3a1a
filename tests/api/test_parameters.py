"""Nothing is accepted without effect: each member of each operation's input is read, refused by name, or exempt."""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.model import Shape

from stead_controller.aws import operations, reading, unbuilt
from stead_controller.aws.call import OPERATIONS
from stead_controller.aws.protocol.models import load_service
from stead_controller.aws.without_effect import ACCEPTED, Accepted
from stead_controller.resources.metrics import widget_image
from tests.api.base_requests import BASES, COMPANIONS, INSTEAD, REFUSED_BASES, VALUES, VALUES_OF, Named, build, filled
from tests.api.conftest import serving
from tests.api.parameters import Member, Prober, Report, judge, members, plain, sample, with_member
from tests.support.examples import tries

operations.load()

PAGE: Final = Path(__file__).parents[2] / "docs" / "parameters.md"
_HEAD: Final = (
    "# Which parameters have an effect",
    "",
    "Each member of each operation's input, down to the last scalar, is read by the operation, or the request is refused",
    "with `UnsupportedOperation` and the member's name, and changes nothing. What asks for what is so anyway is accepted",
    "unread; the table is `controller/stead_controller/aws/without_effect.py`, each line with its reason.",
    "",
    "This page is written by `STEAD_WRITE_DOCS=1 ./stead test tests/api/test_parameters.py`, which sends every member to",
    "every operation; the figures are those of the last writing. Members that are read may still be refused for their",
    "value; `DryRun` counts as read.",
    "",
    "| service | read | refused by name | exempt |",
    "|---|---|---|---|",
)
_EXEMPT_HEAD: Final = (
    "",
    "## Accepted unread",
    "",
    "| service | operation | member | values | because |",
    "|---|---|---|---|---|",
)


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, api_database: Any) -> Iterator[tuple[Prober, Named]]:
    """An endpoint that commits nothing, over a cloud with one resource of each type, whose names it gives."""
    with (
        serving(tmp_path_factory.mktemp("parameters"), *api_database) as api,
        asyncio.Runner() as loop,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(widget_image, "_draw", lambda picture: picture)  # a program that takes two seconds of a processor
        yield Prober(api, loop), build(api)


class Requests:
    """Good requests, and good values of members."""

    def __init__(self, service: str, operation: str, named: Named) -> None:
        self.service, self.operation, self.named = service, operation, named

    def value(self, path: reading.Path, shape: Shape) -> Any:
        """A value that a member may have."""
        name = ".".join(step for step in path if isinstance(step, str))
        for found in (VALUES_OF.get((self.operation, name)), VALUES.get(name.rpartition(".")[2])):
            if found is not None:
                return filled(found, self.named)
        return plain(shape)

    def of_service(self, table: Mapping[str, Any], path: str = "") -> Any:
        """What a table has for the operation of this service, where another service has one of the same name."""
        return table.get(f"{self.service}:{self.operation}{path}")

    def base(self) -> dict[str, Any]:
        """What the operation needs."""
        shape = load_service(self.service).operation(self.operation).input_shape
        needed = filled(self.of_service(BASES) or BASES.get(self.operation, {}), self.named)
        if shape is not None:
            for name in shape.required_members:
                if name not in needed:
                    needed[name] = sample((name,), shape.members[name], self.value)
        return {name: value for name, value in needed.items() if value is not None}

    def without(self, member: Member) -> dict[str, Any]:
        """What the operation needs beside a member."""
        base = self.base()
        dropped, needed = INSTEAD.get(self.operation, ((), {}))
        if dropped and member.path[0] not in (*dropped, "DryRun") and member.path[0] not in base:
            base = {name: value for name, value in base.items() if name not in dropped}
            base |= filled(needed.get(str(member.path[0]), {}), self.named)
        return base

    def beside(self, path: reading.Path) -> dict[str, Any]:
        """What a structure needs where one of its members is given."""
        names = [step for step in path if isinstance(step, str)]
        for key in (
            f"{self.service}:{self.operation} {'.'.join(names)}",
            f"{self.operation} {'.'.join(names)}",
            names[-1] if names else "",
        ):
            if key in COMPANIONS:
                found: dict[str, Any] = filled(COMPANIONS[key], self.named)
                return found
        return {}


def test_each_member_is_read_refused_or_exempt(named: tuple[Prober, Named]) -> None:
    prober, names = named
    report = Report()
    for service, operation in sorted(OPERATIONS):
        if operation in unbuilt.ABSENT:  # where every parameter chooses among none: test_absent_kinds.py
            continue
        requests = Requests(service, operation, names)
        base = requests.base()
        first = prober.send(service, operation, base)
        if (first.status < 300) == (operation in REFUSED_BASES):
            report.wrong.append(f"{service} {operation}: base {first.code} {first.message[:150]} {str(base)[:300]}")
        for member in filter(lambda each: tries(str(each)), members(service, operation)):
            request = with_member(requests.without(member), member, requests.value, requests.beside)
            judge(report, member, prober.send(service, operation, request))
    print(*report.wrong, sep="\n")
    assert not report.wrong
    text = drawn(report)
    if os.environ.get("STEAD_WRITE_DOCS"):
        PAGE.write_text(text, encoding="utf-8")
    exempt = PAGE.read_text(encoding="utf-8").partition(_EXEMPT_HEAD[1])[2]
    assert exempt == text.partition(_EXEMPT_HEAD[1])[2], (
        f"write {PAGE.name} anew: STEAD_WRITE_DOCS=1 ./stead test tests/api/test_parameters.py"
    )


def test_a_repeated_request_is_answered_again(named: tuple[Prober, Named]) -> None:
    """What made something the first time has been read, though there is nothing to make any more."""
    prober, names = named
    repeated, wrong = [], []
    for service, operation in sorted(OPERATIONS):
        shape = load_service(service).operation(operation).input_shape
        if shape is None or "ClientToken" not in shape.members or operation in REFUSED_BASES:
            continue
        request = Requests(service, operation, names).base() | {"ClientToken": "repeated"}
        prober.transactions.commits = True
        found = [prober.send(service, operation, request) for _ in range(2)]
        prober.transactions.commits = False
        if found[0].code == "UnsupportedOperation":
            continue
        repeated.append(operation)
        wrong += [f"{service} {operation}: {one.code} {one.message}" for one in found if one.status >= 300]
    assert not wrong
    assert len(repeated) > 10


def drawn(report: Report) -> str:
    """The page that says how many members there are, and which are accepted unread."""
    rows = [
        f"| {service} | {counts['read']} | {counts['refused']} | {counts['exempt']} |"
        for service, counts in sorted(report.counts.items())
    ]
    exempt = [
        f"| {service} | {operation} | `{path}` | {_values(found)} | {found.reason} |"
        for (service, operation, path), found in sorted(ACCEPTED.items())
    ]
    return "\n".join([*_HEAD, *rows, *_EXEMPT_HEAD, *exempt]) + "\n"


def _values(found: Accepted) -> str:
    return "all" if found.values is None else ", ".join(f"`{json.dumps(one)}`" for one in found.values)
