"""Dashboards through boto3 and the aws command, in each of CloudWatch's protocols."""

import json

import boto3
import botocore.config
import pytest

from stead_controller.resources.metrics import dashboards
from tests.api.conftest import SECRET

TEXT = {"type": "text", "properties": {"markdown": "hello"}}
CONTENT_TYPES = {
    "smithy-rpc-v2-cbor": "application/cbor",
    "json": "application/x-amz-json-1.0",
    "query": "text/xml;charset=UTF-8",
}
BODY = json.dumps({"widgets": [TEXT]})


@pytest.fixture
def client(api):
    return api.client(api.world.one, "cloudwatch")


@pytest.fixture(params=["smithy-rpc-v2-cbor", "json", "query"])
def speaking(api, request, monkeypatch):
    """A client that speaks one of CloudWatch's protocols, as SDKs of different age do."""
    session = boto3.Session()
    loader = session._session.get_component("data_loader")
    load = loader.load_service_model
    model = load("cloudwatch", "service-2")
    model = model | {"metadata": model["metadata"] | {"protocol": request.param, "protocols": [request.param]}}

    def load_changed(service, kind, **options):
        return model if kind == "service-2" else load(service, kind, **options)

    monkeypatch.setattr(loader, "load_service_model", load_changed)
    return session.client(
        "cloudwatch",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{api.port}",
        aws_access_key_id=api.world.one.caller.access_key_id,
        aws_secret_access_key=SECRET,
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )


def test_a_dashboard_lives_in_each_protocol(speaking):
    spoken = speaking.put_dashboard(DashboardName="d-1", DashboardBody=BODY)
    assert spoken["DashboardValidationMessages"] == []
    assert (
        spoken["ResponseMetadata"]["HTTPHeaders"]["content-type"] == CONTENT_TYPES[speaking.meta.service_model.protocol]
    )
    shown = speaking.get_dashboard(DashboardName="d-1")
    assert shown["DashboardBody"] == BODY
    assert shown["DashboardArn"] == "arn:aws:cloudwatch::111111111111:dashboard/d-1"
    [entry] = speaking.list_dashboards()["DashboardEntries"]
    assert (entry["DashboardName"], entry["Size"]) == ("d-1", len(BODY))
    assert entry["LastModified"].tzinfo is not None
    speaking.delete_dashboards(DashboardNames=["d-1"])
    with pytest.raises(speaking.exceptions.ResourceNotFound) as caught:
        speaking.get_dashboard(DashboardName="d-1")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_a_body_is_checked(api, client):
    for body in ("", "{}", '{"widgets": [{}]}'):
        api.refused("InvalidParameterInput", client.put_dashboard, DashboardName="d", DashboardBody=body)
    for name in ("", "a b", "x" * 256):
        api.refused("InvalidParameterValue", client.put_dashboard, DashboardName=name, DashboardBody=BODY)
    body = json.dumps({"widgets": [{**TEXT, "width": 25}]})
    said = client.put_dashboard(DashboardName="d", DashboardBody=body)["DashboardValidationMessages"]
    assert [one["DataPath"] for one in said] == ["/widgets/0/width"]
    assert client.get_dashboard(DashboardName="d")["DashboardBody"] == body


def test_dashboards_are_listed_by_prefix_and_in_pages(api, client, monkeypatch):
    monkeypatch.setattr(dashboards, "PAGE", 2)
    for name in ("b1", "B2", "a", "b3", "b_"):
        client.put_dashboard(DashboardName=name, DashboardBody=BODY)
    pages = client.get_paginator("list_dashboards").paginate()
    assert [[one["DashboardName"] for one in page["DashboardEntries"]] for page in pages] == [
        ["B2", "a"],
        ["b1", "b3"],
        ["b_"],
    ]
    pages = client.get_paginator("list_dashboards").paginate(DashboardNamePrefix="b")
    assert [one["DashboardName"] for page in pages for one in page["DashboardEntries"]] == ["b1", "b3", "b_"]
    assert api.client(api.world.other, "cloudwatch").list_dashboards()["DashboardEntries"] == []


def test_a_deletion_deletes_all_or_none(api, client):
    client.put_dashboard(DashboardName="a", DashboardBody=BODY)
    api.refused("ResourceNotFound", client.delete_dashboards, DashboardNames=["a", "b"])
    api.refused("InvalidParameterValue", client.delete_dashboards, DashboardNames=[])
    theirs = api.client(api.world.other, "cloudwatch")
    api.refused("ResourceNotFound", theirs.delete_dashboards, DashboardNames=["a"])
    client.put_dashboard(DashboardName="b", DashboardBody=BODY)
    client.delete_dashboards(DashboardNames=["a", "b", "a"])
    assert client.list_dashboards()["DashboardEntries"] == []


def test_tags_are_of_a_new_dashboard_only(api, client):
    arn = "arn:aws:cloudwatch::111111111111:dashboard/d"
    client.put_dashboard(DashboardName="d", DashboardBody=BODY, Tags=[{"Key": "team", "Value": "a"}])
    client.put_dashboard(DashboardName="d", DashboardBody=BODY, Tags=[{"Key": "team", "Value": "b"}])
    client.tag_resource(ResourceARN=arn, Tags=[{"Key": "x", "Value": ""}])
    assert client.list_tags_for_resource(ResourceARN=arn)["Tags"] == [
        {"Key": "team", "Value": "a"},
        {"Key": "x", "Value": ""},
    ]
    client.untag_resource(ResourceARN=arn, TagKeys=["team", "absent"])
    assert client.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "x", "Value": ""}]
    for bad in ({"Key": "aws:x", "Value": ""}, {"Key": "AWS:x", "Value": ""}):
        api.refused("InvalidParameterValue", client.tag_resource, ResourceARN=arn, Tags=[bad])
    many = [{"Key": f"k{number}", "Value": ""} for number in range(50)]
    api.refused("InvalidParameterValue", client.tag_resource, ResourceARN=arn, Tags=many)
    for absent in (
        arn + "x",
        "arn:aws:cloudwatch::222222222222:dashboard/d",
        "arn:aws:cloudwatch:us-east-1:111111111111:alarm:d",
    ):
        api.refused("ResourceNotFoundException", client.list_tags_for_resource, ResourceARN=absent)
        api.refused("ResourceNotFoundException", client.untag_resource, ResourceARN=absent, TagKeys=["x"])
    theirs = api.client(api.world.other, "cloudwatch")
    api.refused("ResourceNotFoundException", theirs.list_tags_for_resource, ResourceARN=arn)


def test_an_account_has_so_many(api, client, monkeypatch):
    monkeypatch.setattr(dashboards, "PER_ACCOUNT", 1)
    client.put_dashboard(DashboardName="d", DashboardBody=BODY)
    client.put_dashboard(DashboardName="d", DashboardBody=BODY)
    api.refused("LimitExceeded", client.put_dashboard, DashboardName="e", DashboardBody=BODY)
    api.client(api.world.other, "cloudwatch").put_dashboard(DashboardName="e", DashboardBody=BODY)
