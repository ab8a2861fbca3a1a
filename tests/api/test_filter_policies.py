"""Filter policies of subscriptions, by boto3: who gets which messages, and how policies are set and shown."""

import asyncio
import json

import pytest

from tests.support.receivers import subscribe, to_loopback

TOPIC = "arn:aws:sns:us-east-1:111111111111:alerts"
DISKS = json.dumps({"kind": ["disk"]})


@pytest.fixture
def sns(api):
    to_loopback(api)
    client = api.client(api.world.one, "sns")
    client.create_topic(Name="alerts")
    return client


@pytest.fixture
def published(sns, sending, receiver):
    """What publishes a message, and tells which subscriptions get it."""

    def publish(message="m", kind=None, **asked):
        given = {} if kind is None else {"kind": {"DataType": "String", "StringValue": kind}}
        receiver.arrived.clear()
        sns.publish(TopicArn=TOPIC, Message=message, MessageAttributes=given, **asked)
        asyncio.run(sending.run())
        return sorted(one.headers["x-amz-sns-subscription-arn"] for one in receiver.arrived)

    return publish


def change(sns, arn, name, value):
    sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName=name, AttributeValue=value)


def shown(sns, arn):
    found = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    return found.get("FilterPolicy"), found.get("FilterPolicyScope")


def test_subscribers_get_what_their_policies_let_through(sns, sending, receiver, published):
    every = subscribe(sns, sending, receiver, TOPIC)
    disks = subscribe(
        sns, sending, receiver, TOPIC, Endpoint=receiver.url + "&disks", Attributes={"FilterPolicy": DISKS}
    )
    assert published(kind="disk") == sorted([every, disks])
    assert published(kind="net") == [every]
    assert published() == [every]
    change(sns, disks, "FilterPolicy", json.dumps({"kind": ["net"]}))
    assert published(kind="net") == sorted([every, disks])
    change(sns, every, "FilterPolicy", DISKS)
    assert published(kind="other") == []
    change(sns, every, "FilterPolicy", "{}")
    assert published(kind="other") == [every]


def test_bodies_are_looked_into_where_the_scope_says_so(sns, sending, receiver, published):
    asked = {"FilterPolicyScope": "MessageBody", "FilterPolicy": json.dumps({"detail": {"kind": ["disk"]}})}
    arn = subscribe(sns, sending, receiver, TOPIC, Attributes=asked)
    assert shown(sns, arn) == (asked["FilterPolicy"], "MessageBody")
    assert published(json.dumps({"detail": {"kind": "disk"}})) == [arn]
    assert published("disk", kind="disk") == []
    mine = json.dumps({"default": "x", "https": json.dumps({"detail": {"kind": "disk"}})})
    assert published(mine, MessageStructure="json") == [arn]


def test_policies_and_scopes_are_set_shown_and_removed(api, sns, sending, receiver, published):
    arn = subscribe(sns, sending, receiver, TOPIC)
    assert shown(sns, arn) == (None, None)
    change(sns, arn, "FilterPolicy", DISKS)
    assert shown(sns, arn) == (DISKS, "MessageAttributes")
    change(sns, arn, "FilterPolicyScope", "MessageBody")
    assert shown(sns, arn) == (DISKS, "MessageBody")
    nested = json.dumps({"a": {"b": ["c"]}})
    change(sns, arn, "FilterPolicy", nested)
    change(sns, arn, "RawMessageDelivery", "true")
    refused = {"SubscriptionArn": arn, "AttributeName": "FilterPolicyScope", "AttributeValue": "MessageAttributes"}
    assert "nested" in api.refused("InvalidParameter", sns.set_subscription_attributes, **refused)
    told = api.refused("InvalidParameter", sns.set_subscription_attributes, **refused | {"AttributeValue": "Body"})
    assert "[Body]" in told
    assert shown(sns, arn) == (nested, "MessageBody")
    assert published() == []
    change(sns, arn, "FilterPolicy", "")
    assert shown(sns, arn) == (None, None)
    assert published() == [arn]


def test_a_subscription_is_asked_for_again_with_the_same_policy_alone(api, sns, sending, receiver):
    given = {"FilterPolicy": DISKS, "FilterPolicyScope": "MessageBody", "RawMessageDelivery": "true"}
    arn = subscribe(sns, sending, receiver, TOPIC, Attributes=given)
    asked = {"TopicArn": TOPIC, "Protocol": "https", "Endpoint": receiver.url}
    assert sns.subscribe(**asked, Attributes=given)["SubscriptionArn"] == arn
    for name in given:
        other = {key: value for key, value in given.items() if key != name}
        api.refused("InvalidParameter", sns.subscribe, **asked, Attributes=other)
    change(sns, arn, "RawMessageDelivery", "false")
    change(sns, arn, "FilterPolicy", "{}")
    change(sns, arn, "FilterPolicyScope", "MessageAttributes")
    assert sns.subscribe(**asked)["SubscriptionArn"] == arn


def test_what_is_no_policy_is_refused(api, sns):
    asked = {"TopicArn": TOPIC, "Protocol": "https", "Endpoint": "https://hook.example/"}
    for policy in ('{"a": "b"}', "{", '{"a": {"b": ["c"]}}'):
        api.refused("InvalidParameter", sns.subscribe, **asked, Attributes={"FilterPolicy": policy})
    assert sns.list_subscriptions()["Subscriptions"] == []
