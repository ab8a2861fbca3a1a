"""Each API that tenants and operators call has the database that answers in time where its server is gone or hangs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any, NoReturn
from unittest.mock import Mock

import grpc
import pytest

from stead_cli import operator as operator_of_command
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.settings import Settings as CommandSettings
from stead_controller.aws.app import LONGEST_WAIT
from stead_controller.aws.pricing import price_lists
from stead_controller.blocks.interface import BlockStoreError
from stead_controller.db.answered import Answered
from stead_controller.errors import Unavailable
from stead_controller.operator import blocks, compute
from stead_controller.resources.images import imported_images
from stead_controller.resources.instances import instance_summaries
from stead_proto.v1 import compute_pb2, host_pb2_grpc, operator_pb2, operator_pb2_grpc
from tests.support.processes import free_ports
from tests.unit.controller.test_controller import cloud  # noqa: F401 - a fixture

_UNCHANGED, _UNKNOWN = "answer: nothing was changed", "answer: it is not known whether"
_GIVEN: dict[str, dict[str, Any]] = {
    "ImportImage": {"header": {"name": "a", "format": "raw", "file_size": 512}},
    "ExportImage": {"format": "raw"},
    "Explain": {"protocol": "tcp", "source": "i-00000000000000000", "destination": "i-00000000000000001"},
}
_OF_FILES = {"ListKeyVersions", "ListRefusedPlaces", "FinishAuthority"}  # which ask the database nothing here
_LONG = {"ScrubBlocks", "RotateKey", "BeginAuthority"}  # which have changed something, or may have


async def test_who_calls_is_answered_in_time_by_each_api(cloud, monkeypatch):  # noqa: F811 - the fixture
    controller, services = cloud.controller, {}
    for name in ("Blocks", "Images"):
        monkeypatch.setattr(
            operator_pb2_grpc, f"add_{name}Servicer_to_server", lambda one, _server: services.update({type(one): one})
        )
    controller.settings = replace(controller.settings, host_port=0)
    controller._grpc_server()
    monkeypatch.setattr(host_pb2_grpc, "add_EnrolmentServicer_to_server", lambda one, _: services.update(machines=one))
    controller.settings = replace(controller.settings, enrolment_port=0)
    controller._enrolment_server(None)
    databases = {
        "machines that enrol": services.pop("machines")._database,
        "who calls": controller._keys._database,
        "AWS": controller._app(b"k" * 32)._transactions,
        "blocks": controller._asking._blocks._database,
        "S3": controller._objects._transactions,
        "native": controller._compute(None)._database,
        "buckets that are written to": controller._objects._means.backend._writing.__self__._transactions,
        "price lists": controller._aws._pages[price_lists.PATH].__self__.transactions,
        **{each.__name__: one._store._database for each, one in services.items()},
    }
    assert services
    assert {api: type(database) for api, database in databases.items()} == dict.fromkeys(databases, Answered)


async def test_a_machine_that_enrols_is_told_that_the_database_is_away(cloud, monkeypatch):  # noqa: F811 - the fixture
    monkeypatch.setattr(Answered, "run", _away_later)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await cloud.enrol("a token")
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert _UNCHANGED in str(refused.value.details())


def _away(*_: Any, is_known: bool = True, **__: Any) -> NoReturn:
    raise Unavailable(is_known=is_known)


async def _away_later(*_: Any, **__: Any) -> NoReturn:
    raise Unavailable


def _methods(file: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, service in file.DESCRIPTOR.services_by_name.items():
        for method in service.methods:
            yield name, method


async def _refusal(stub: Any, method: Any) -> grpc.aio.AioRpcError | None:
    request = getattr(operator_pb2, method.input_type.name)(**_GIVEN.get(method.name, {}))

    async def one() -> AsyncIterator[Any]:
        yield request

    call = getattr(stub, method.name)(one() if method.client_streaming else request, timeout=20)
    try:
        if method.server_streaming:
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def test_each_call_of_operators_is_answered_by_that_database(cloud, monkeypatch):  # noqa: F811 - the fixture
    channel = await cloud.operator()

    monkeypatch.setattr(Answered, "run", _away_later)
    for service, method in _methods(operator_pb2):
        refused = await _refusal(getattr(operator_pb2_grpc, f"{service}Stub")(channel), method)
        if method.name in _OF_FILES:
            assert refused is None or refused.code() is grpc.StatusCode.FAILED_PRECONDITION
            continue
        assert refused is not None, method.name
        assert refused.code() is grpc.StatusCode.UNAVAILABLE, method.name
        assert (_UNKNOWN if method.name in _LONG else _UNCHANGED) in refused.details(), method.name


async def test_the_command_tells_a_database_that_is_away_from_a_controller_that_is(
    cloud,  # noqa: F811 - the fixture
    monkeypatch,
):
    monkeypatch.setattr(Answered, "run", _away_later)
    settings = CommandSettings(cloud.settings.state_dir.parent, host_port=cloud.settings.host_port)
    with pytest.raises(CliError, match=_UNCHANGED):
        await asyncio.to_thread(Operator(settings).list_hosts)
    assert operator_of_command._CALL_SECONDS > LONGEST_WAIT, "it hears of that"
    monkeypatch.setattr(blocks, "scrub", Mock(side_effect=BlockStoreError("the bucket is away")))
    with pytest.raises(CliError, match="the bucket is away"):
        await asyncio.to_thread(Operator(settings).scrub_blocks, Mock())
    (nobody,) = free_ports(1)
    with pytest.raises(CliError, match="no controller answers"):
        await asyncio.to_thread(Operator(replace(settings, host_port=nobody)).list_hosts)


async def test_the_native_api_does_not_deny_what_it_has_done(cloud, monkeypatch):  # noqa: F811 - the fixture
    stub = await cloud.compute()
    monkeypatch.setattr(instance_summaries, "summaries", _away)
    monkeypatch.setattr(compute, "terminate_instances", lambda *_: [])
    requests = {
        _UNCHANGED: stub.DescribeInstances(compute_pb2.DescribeInstancesRequest(), metadata=cloud.key),
        _UNKNOWN: stub.TerminateInstances(compute_pb2.InstanceIds(), metadata=cloud.key),
    }
    for message, call in requests.items():
        with pytest.raises(grpc.aio.AioRpcError, match=message) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(("is_known", "left"), [(True, 0), (False, 1)])
async def test_the_file_of_an_image_that_may_be_there_stays(
    cloud,  # noqa: F811 - the fixture
    monkeypatch,
    is_known,
    left,
):
    monkeypatch.setattr(imported_images, "bring_image", partial(_away, is_known=is_known))
    with pytest.raises(grpc.aio.AioRpcError, match="does not answer"):
        await cloud.import_image(bytes(1 << 20), format="raw")
    assert len(list(cloud.settings.incoming_folder.iterdir())) == left


async def test_of_an_image_that_comes_nothing_is_denied(cloud, monkeypatch):  # noqa: F811 - the fixture
    monkeypatch.setattr(imported_images, "ingestion", _away)
    with pytest.raises(grpc.aio.AioRpcError, match=_UNKNOWN):
        await cloud.import_image(bytes(1 << 20), format="raw")
