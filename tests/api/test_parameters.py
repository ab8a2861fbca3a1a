"""Nothing is accepted without effect: each member of each operation's input is read, refused by name, or exempt."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.model import Shape

from stead_controller.aws import operations
from stead_controller.aws.call import OPERATIONS
from stead_controller.aws.protocol.models import load_service
from stead_controller.aws.reading import Path
from tests.api.base_requests import BASES, COMPANIONS, INSTEAD, REFUSED_BASES, VALUES, VALUES_OF, Named, build, filled
from tests.api.conftest import serving
from tests.api.parameters import Member, Prober, Report, judge, members, plain, sample, with_member

operations.load()


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, api_database: Any) -> Iterator[tuple[Prober, Named]]:
    """An endpoint of which nothing is kept, over a cloud with one of each thing, whose names it gives."""
    with serving(tmp_path_factory.mktemp("parameters"), *api_database) as api:
        yield Prober(api), build(api)


class Requests:
    """Good requests, and good values of members."""

    def __init__(self, service: str, operation: str, named: Named) -> None:
        self.service, self.operation, self.named = service, operation, named

    def value(self, path: Path, shape: Shape) -> Any:
        """A value that a member may have."""
        name = ".".join(step for step in path if isinstance(step, str))
        for found in (VALUES_OF.get((self.operation, name)), VALUES.get(name.rpartition(".")[2])):
            if found is not None:
                return filled(found, self.named)
        return plain(shape)

    def base(self) -> dict[str, Any]:
        """What the operation needs."""
        shape = load_service(self.service).operation(self.operation).input_shape
        needed = filled(BASES.get(self.operation, {}), self.named)
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

    def beside(self, path: Path) -> dict[str, Any]:
        """What a structure needs where one of its members is given."""
        names = [step for step in path if isinstance(step, str)]
        for key in (f"{self.operation} {'.'.join(names)}", names[-1] if names else ""):
            if key in COMPANIONS:
                found: dict[str, Any] = filled(COMPANIONS[key], self.named)
                return found
        return {}


def test_each_member_is_read_refused_or_exempt(named: tuple[Prober, Named]) -> None:
    prober, names = named
    report = Report()
    for service, operation in sorted(OPERATIONS):
        requests = Requests(service, operation, names)
        base = requests.base()
        first = prober.send(service, operation, base)
        if (first.status < 300) == (operation in REFUSED_BASES):
            report.wrong.append(f"{service} {operation}: base {first.code} {first.message[:150]} {str(base)[:300]}")
        for member in members(service, operation):
            request = with_member(requests.without(member), member, requests.value, requests.beside)
            judge(report, member, prober.send(service, operation, request))
    for service, counts in report.counts.items():
        print(service, dict(counts))
    print(*report.wrong, sep="\n")
    assert not report.wrong
