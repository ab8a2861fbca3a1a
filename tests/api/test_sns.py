"""SNS by boto3: topics, HTTPS subscriptions confirmed by their token, and signed messages that arrive."""

import asyncio
import json
import subprocess
import urllib.request
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from stead_controller.db.tables import Delivery, Subscription, TopicMessage
from stead_controller.resources.notifications import deliveries, publishing, retries, subscriptions, topics
from stead_proto.certificates import Authority
from tests.support.receivers import Receiver, Sending, subscribe, to_loopback
from tests.support.waiting import wait_for

ACCOUNT = "111111111111"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:alerts"


@pytest.fixture
def sns(api):
    to_loopback(api)
    client = api.client(api.world.one, "sns")
    assert client.create_topic(Name="alerts")["TopicArn"] == TOPIC
    return client


def run(sending, seconds=0.0):
    asyncio.run(sending.run(seconds))


def verified(sending, arrived, folder):
    """Check the signature of a message with openssl, by AWS's description of what is signed; give its fields."""
    fields = arrived.fields
    names = {
        "Notification": ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
        "SubscriptionConfirmation": ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
        "UnsubscribeConfirmation": ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
    }[fields["Type"]]
    text = "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields)
    assert fields["SignatureVersion"] == "2"
    assert fields["SigningCertURL"] == sending.own_url + sending.signer.path
    for name, content in (
        ("text", text.encode()),
        ("signature", b64decode(fields["Signature"])),
        ("certificate", sending.signer.certificate_pem),
    ):
        (folder / name).write_bytes(content)
    openssl = ["openssl", "x509", "-in", "certificate", "-pubkey", "-noout", "-out", "public"]
    subprocess.run(openssl, cwd=folder, check=True)
    check = ["openssl", "dgst", "-sha256", "-verify", "public", "-signature", "signature", "text"]
    subprocess.run(check, cwd=folder, check=True, capture_output=True)
    chain = ["openssl", "verify", "-CAfile", "ca.pem", "certificate"]
    subprocess.run(chain, cwd=folder, check=True, capture_output=True)
    return fields


def test_a_message_is_signed_and_arrives(api, sns, sending, receiver, tmp_path):
    arn = subscribe(sns, sending, receiver, TOPIC)
    first = verified(sending, receiver.arrived[0], tmp_path)
    assert first["Type"] == "SubscriptionConfirmation"
    assert receiver.arrived[0].headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
    assert "x-amz-sns-subscription-arn" not in receiver.arrived[0].headers
    given = {
        "kind": {"DataType": "String", "StringValue": "disk"},
        "free": {"DataType": "Number", "StringValue": "-1.5"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
    }
    sent = sns.publish(TopicArn=TOPIC, Subject="Disk", Message="full: ä\n", MessageAttributes=given)["MessageId"]
    run(sending)
    fields = verified(sending, receiver.last, tmp_path)
    assert (fields["Type"], fields["Subject"], fields["Message"]) == ("Notification", "Disk", "full: ä\n")
    assert (fields["MessageId"], fields["TopicArn"]) == (sent, TOPIC)
    assert fields["MessageAttributes"] == {
        "kind": {"Type": "String", "Value": "disk"},
        "free": {"Type": "Number", "Value": "-1.5"},
        "raw": {"Type": "Binary", "Value": "AAE="},
    }
    headers = receiver.last.headers
    assert headers["x-amz-sns-message-type"] == "Notification"
    assert headers["x-amz-sns-message-id"] == sent
    assert headers["x-amz-sns-topic-arn"] == TOPIC
    assert headers["x-amz-sns-subscription-arn"] == arn
    assert "x-amz-sns-rawdelivery" not in headers
    assert headers["content-type"] == "text/plain; charset=UTF-8"
    assert headers["user-agent"] == "Amazon Simple Notification Service Agent"
    run(sending)
    assert len(receiver.arrived) == 2
    assert api.run(lambda tx: tx.session.query(TopicMessage).count()) == 0


def test_a_message_without_subject_is_verified_too(sns, sending, receiver, tmp_path):
    subscribe(sns, sending, receiver, TOPIC)
    sns.publish(TargetArn=TOPIC, Message="m")
    run(sending)
    assert "Subject" not in verified(sending, receiver.last, tmp_path)


def test_raw_messages_come_without_envelope(sns, sending, receiver):
    arn = subscribe(sns, sending, receiver, TOPIC, Attributes={"RawMessageDelivery": "true"})
    assert receiver.last.fields["Type"] == "SubscriptionConfirmation"
    assert "x-amz-sns-rawdelivery" not in receiver.last.headers
    sns.publish(TopicArn=TOPIC, MessageStructure="json", Message=json.dumps({"default": "d", "https": "only"}))
    run(sending)
    assert receiver.last.body == b"only"
    assert receiver.last.headers["x-amz-sns-rawdelivery"] == "true"
    sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="false")
    sns.publish(TopicArn=TOPIC, MessageStructure="json", Message=json.dumps({"default": "d", "http": "x"}))
    run(sending)
    assert receiver.last.fields["Message"] == "d"


def test_only_confirmed_subscriptions_get_messages(api, sns, sending, receiver):
    sns.subscribe(TopicArn=TOPIC, Protocol="https", Endpoint=receiver.url)
    sns.publish(TopicArn=TOPIC, Message="early")
    run(sending)
    assert [one.fields["Type"] for one in receiver.arrived] == ["SubscriptionConfirmation"]
    api.refused("InvalidParameter", sns.confirm_subscription, TopicArn=TOPIC, Token="0" * 128)
    [shown] = sns.list_subscriptions_by_topic(TopicArn=TOPIC)["Subscriptions"]
    assert shown["SubscriptionArn"] == "PendingConfirmation"
    assert sns.get_topic_attributes(TopicArn=TOPIC)["Attributes"]["SubscriptionsPending"] == "1"
    again = sns.subscribe(TopicArn=TOPIC, Protocol="https", Endpoint=receiver.url, ReturnSubscriptionArn=True)
    run(sending)
    assert len(receiver.arrived) == 2
    found = sns.get_subscription_attributes(SubscriptionArn=again["SubscriptionArn"])["Attributes"]
    assert (found["PendingConfirmation"], found["Endpoint"]) == ("true", receiver.url)
    api.refused("InvalidParameter", sns.unsubscribe, SubscriptionArn=again["SubscriptionArn"])
    confirmed = sns.confirm_subscription(TopicArn=TOPIC, Token=receiver.last.fields["Token"])
    assert confirmed == again | {"ResponseMetadata": confirmed["ResponseMetadata"]}
    third = sns.subscribe(TopicArn=TOPIC, Protocol="https", Endpoint=receiver.url)
    assert third["SubscriptionArn"] == again["SubscriptionArn"]
    different = {"Endpoint": receiver.url, "Attributes": {"RawMessageDelivery": "true"}}
    api.refused("InvalidParameter", sns.subscribe, TopicArn=TOPIC, Protocol="https", **different)


def test_the_urls_of_messages_work_without_signature(sns, sending, receiver, tmp_path):
    sns.subscribe(TopicArn=TOPIC, Protocol="https", Endpoint=receiver.url)
    run(sending)
    with urllib.request.urlopen(receiver.last.fields["SubscribeURL"]) as answer:
        assert b"<SubscriptionArn>" in answer.read()
    [row] = sns.list_subscriptions()["Subscriptions"]
    found = sns.get_subscription_attributes(SubscriptionArn=row["SubscriptionArn"])["Attributes"]
    assert (found["ConfirmationWasAuthenticated"], found["PendingConfirmation"]) == ("false", "false")
    sns.publish(TopicArn=TOPIC, Message="m")
    run(sending)
    with urllib.request.urlopen(receiver.last.fields["UnsubscribeURL"]) as answer:
        assert answer.status == 200
    run(sending)
    ended = verified(sending, receiver.last, tmp_path)
    assert ended["Type"] == "UnsubscribeConfirmation"
    assert receiver.last.headers["x-amz-sns-subscription-arn"] == row["SubscriptionArn"]
    assert sns.list_subscriptions()["Subscriptions"] == []
    assert sns.get_topic_attributes(TopicArn=TOPIC)["Attributes"]["SubscriptionsDeleted"] == "1"
    sns.publish(TopicArn=TOPIC, Message="unheard")
    run(sending)
    assert receiver.last.fields["Type"] == "UnsubscribeConfirmation"
    with urllib.request.urlopen(receiver.last.fields["SubscribeURL"]):
        pass
    assert sns.list_subscriptions()["Subscriptions"] == [row]


def test_who_subscribed_anew_is_not_restored_twice(api, sns, sending, receiver):
    arn = subscribe(sns, sending, receiver, TOPIC)
    api.unsigned("sns").unsubscribe(SubscriptionArn=arn)
    run(sending)
    old = receiver.last.fields["Token"]
    again = subscribe(sns, sending, receiver, TOPIC)
    assert again != arn
    api.refused("InvalidParameter", sns.confirm_subscription, TopicArn=TOPIC, Token=old)


def test_a_locked_subscription_is_ended_by_its_owner_only(api, sns, sending, receiver):
    nobody = api.unsigned("sns")
    sns.subscribe(TopicArn=TOPIC, Protocol="https", Endpoint=receiver.url)
    run(sending)
    asked = {"TopicArn": TOPIC, "Token": receiver.last.fields["Token"], "AuthenticateOnUnsubscribe": "true"}
    api.refused("AuthorizationError", nobody.confirm_subscription, **asked)
    api.refused("InvalidParameter", sns.confirm_subscription, **asked | {"AuthenticateOnUnsubscribe": "perhaps"})
    arn = sns.confirm_subscription(**asked)["SubscriptionArn"]
    api.refused("AuthorizationError", nobody.unsubscribe, SubscriptionArn=arn)
    theirs = api.client(api.world.other, "sns")
    theirs.unsubscribe(SubscriptionArn=arn)  # as if it were not there
    assert len(sns.list_subscriptions()["Subscriptions"]) == 1
    sns.unsubscribe(SubscriptionArn=arn)
    assert api.run(lambda tx: tx.session.query(Subscription).count()) == 0
    api.refused("NotFound", sns.get_subscription_attributes, SubscriptionArn=arn)
    sns.unsubscribe(SubscriptionArn=arn)


def test_what_fails_is_tried_again_in_order_and_given_up_in_the_end(api, sns, sending, receiver, monkeypatch):
    subscribe(sns, sending, receiver, TOPIC)
    receiver.arrived.clear()
    sending.now += timedelta(minutes=10)  # so that it is the test alone that moves it
    receiver.status = 503
    for text in ("one", "two"):
        sns.publish(TopicArn=TOPIC, Message=text)
    run(sending)
    assert [one.fields["Message"] for one in receiver.arrived] == ["one"] * (1 + retries.AT_ONCE)
    run(sending, 1)
    assert len(receiver.arrived) == 2 + retries.AT_ONCE
    receiver.status = 200
    run(sending)
    assert len(receiver.arrived) == 2 + retries.AT_ONCE  # not yet
    run(sending, 1)
    assert [one.fields["Message"] for one in receiver.arrived[-2:]] == ["one", "two"]
    receiver.status = 429
    monkeypatch.setattr(retries, "RETRIES", 8)
    sns.publish(TopicArn=TOPIC, Message="three")
    sns.publish(TopicArn=TOPIC, Message="four")
    for _ in range(retries.RETRIES):
        run(sending, retries.LONGEST)
    texts = [one.fields["Message"] for one in receiver.arrived]
    assert texts.count("three") == 1 + retries.RETRIES
    assert 0 < texts.count("four") < texts.count("three")
    run(sending, 3600)  # which is too old by now
    assert api.run(lambda tx: tx.session.query(Delivery).count() + tx.session.query(TopicMessage).count()) == 0
    [row] = api.run(lambda tx: tx.session.query(Subscription).all())
    assert (row.due, row.tries, row.queued) == (None, 0, 0)


@pytest.mark.parametrize("status", [302, 400, 403, 404])
def test_what_a_receiver_refuses_is_not_tried_again(api, sns, sending, receiver, status):
    subscribe(sns, sending, receiver, TOPIC)
    receiver.arrived.clear()
    receiver.status, receiver.headers = status, {"Location": receiver.url}
    sns.publish(TopicArn=TOPIC, Message="m")
    run(sending)
    run(sending, 60)
    assert len(receiver.arrived) == 1
    assert api.run(lambda tx: tx.session.query(TopicMessage).count()) == 0


def test_a_full_queue_takes_no_more(api, sns, sending, receiver, monkeypatch):
    monkeypatch.setattr(publishing, "MOST_QUEUED", 2)
    subscribe(sns, sending, receiver, TOPIC)
    for text in ("one", "two", "three"):
        sns.publish(TopicArn=TOPIC, Message=text)
    run(sending)
    assert [one.fields["Message"] for one in receiver.arrived[1:]] == ["one", "two"]


def test_the_loop_wakes_and_outlives_a_failure(api, sns, sending, receiver, caplog):
    arn = subscribe(sns, sending, receiver, TOPIC)

    async def living():
        loop = sending.loop()
        api.database.on_commit(loop.committed)
        broken, real = [], loop._webhooks.post

        async def post(*args, **asked):
            if not broken:
                broken.append(1)
                raise RuntimeError("once")
            return await real(*args, **asked)

        loop._webhooks.post = post
        task = asyncio.create_task(loop.run())
        sending.now += timedelta(days=1)
        try:
            await asyncio.to_thread(sns.publish, TopicArn=TOPIC, Message="woken")
            await asyncio.to_thread(wait_for, lambda: len(receiver.arrived) >= 2, "the message", 120)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(living())
    assert receiver.last.fields["Message"] == "woken"
    assert arn.rpartition(":")[2] in [one.__dict__.get("subscription") for one in caplog.records]


def test_addresses_inside_are_not_reached_and_logs_have_no_url(api, sns, sending, receiver, caplog):
    subscribe(sns, sending, receiver, TOPIC)
    sending.networks = ("127.9.9.9/32",)
    sns.publish(TopicArn=TOPIC, Message="m")
    run(sending)
    assert len(receiver.arrived) == 1
    [note, *_] = [one for one in caplog.records if one.msg == "notification_not_delivered"]
    assert note.__dict__["why"] == "the address may not be connected to"
    assert "hidden" not in caplog.text + "".join(str(one.__dict__) for one in caplog.records)


def test_a_certificate_of_others_is_not_trusted(sns, sending, receiver, tmp_path, caplog):
    subscribe(sns, sending, receiver, TOPIC)
    other = tmp_path / "other"
    other.mkdir()
    sending.ca_file = Sending(sending.api, other, Authority.create(), sending.signer).ca_file
    sns.publish(TopicArn=TOPIC, Message="m")
    run(sending)
    assert len(receiver.arrived) == 1
    assert "ClientConnectorCertificateError" in [one.__dict__.get("why") for one in caplog.records]


def test_plain_http_where_the_operator_allows_it(api, sns, sending, tmp_path):
    plain = Receiver(tmp_path, sending.authority, tls=False)
    try:
        subscribe(sns, sending, plain, TOPIC, Protocol="http")
        sns.publish(TopicArn=TOPIC, Message=json.dumps({"default": "d", "http": "h"}), MessageStructure="json")
        run(sending)
        assert plain.last.fields["Message"] == "h"
    finally:
        plain.close()
    api.app._cloud = replace(api.world.cloud, webhook_networks=())
    asked = {"TopicArn": TOPIC, "Protocol": "http", "Endpoint": "http://x.example"}
    assert "--webhook-network" in api.refused("UnsupportedOperation", sns.subscribe, **asked)


def test_topics_live(api, sns):
    assert sns.create_topic(Name="alerts")["TopicArn"] == TOPIC
    tags = [{"Key": "a", "Value": "b"}]
    api.refused("InvalidParameter", sns.create_topic, Name="alerts", Tags=tags)
    api.refused("InvalidParameter", sns.create_topic, Name="alerts", Attributes={"DisplayName": "x"})
    arn = sns.create_topic(Name="t", Tags=tags, Attributes={"DisplayName": "T", "FifoTopic": "false"})["TopicArn"]
    assert sns.create_topic(Name="t", Tags=tags, Attributes={"DisplayName": "T"})["TopicArn"] == arn
    assert sns.list_tags_for_resource(ResourceArn=arn)["Tags"] == tags
    sns.tag_resource(ResourceArn=arn, Tags=[{"Key": "c", "Value": "d"}])
    sns.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert sns.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "c", "Value": "d"}]
    sns.set_topic_attributes(TopicArn=arn, AttributeName="DisplayName", AttributeValue="U")
    sns.set_topic_attributes(TopicArn=arn, AttributeName="SignatureVersion", AttributeValue="2")
    found = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert (found["TopicArn"], found["Owner"], found["DisplayName"]) == (arn, ACCOUNT, "U")
    assert json.loads(found["Policy"])["Statement"][0]["Resource"] == arn
    policy = json.loads(found["EffectiveDeliveryPolicy"])["http"]["defaultHealthyRetryPolicy"]
    assert policy["numRetries"] == retries.RETRIES
    assert [one["TopicArn"] for one in sns.list_topics()["Topics"]] == [TOPIC, arn]
    for absent in (arn + "x", arn.replace(ACCOUNT, "222222222222"), arn.replace("us-east-1", "eu-west-1")):
        api.refused("NotFound", sns.get_topic_attributes, TopicArn=absent)
    api.refused("ResourceNotFound", sns.list_tags_for_resource, ResourceArn=arn + "x")
    api.refused("InvalidParameter", sns.get_topic_attributes, TopicArn="arn:aws:sqs:us-east-1:1:x")
    sns.delete_topic(TopicArn=arn)
    sns.delete_topic(TopicArn=arn)
    assert [one["TopicArn"] for one in sns.list_topics()["Topics"]] == [TOPIC]


def test_lists_have_pages(api, sns):
    for number in range(101):
        sns.create_topic(Name=f"t{number:03}")
    pages = [len(page["Topics"]) for page in sns.get_paginator("list_topics").paginate()]
    assert pages == [100, 2]

    def many(tx):
        topic = topics.look_up(tx, api.world.one.caller, api.world.cloud, TOPIC)
        for number in range(100):
            asked = subscriptions.SubscriptionRequest(
                topic, "https", f"https://x.example/{number}", subscriptions.Wishes()
            )
            subscriptions.subscribe(tx, api.world.one.caller, api.world.cloud, asked, api.world.now)

    api.run(many)
    message = api.refused(
        "SubscriptionLimitExceeded", sns.subscribe, TopicArn=TOPIC, Protocol="https", Endpoint="https://y.example"
    )
    assert "100" in message
    pages = sns.get_paginator("list_subscriptions").paginate()
    assert sum(len(page["Subscriptions"]) for page in pages) == 100


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"Name": "a.fifo"}, "InvalidParameter"),
        ({"Name": "a" * 257}, "InvalidParameter"),
        ({"Name": "a", "Attributes": {"FifoTopic": "true"}}, "UnsupportedOperation"),
        ({"Name": "a", "Attributes": {"SignatureVersion": "1"}}, "UnsupportedOperation"),
        ({"Name": "a", "Attributes": {"KmsMasterKeyId": "alias/x"}}, "UnsupportedOperation"),
        ({"Name": "a", "Attributes": {"Policy": "{}"}}, "UnsupportedOperation"),
        ({"Name": "a", "Attributes": {"HTTPSuccessFeedbackRoleArn": "r"}}, "UnsupportedOperation"),
        ({"Name": "a", "Attributes": {"Color": "red"}}, "InvalidParameter"),
        ({"Name": "a", "Attributes": {"DisplayName": "x" * 101}}, "InvalidParameter"),
        ({"Name": "a", "Attributes": {"DisplayName": "x\ny"}}, "InvalidParameter"),
        ({"Name": "a", "Tags": [{"Key": "aws:x", "Value": "y"}]}, "InvalidParameter"),
        ({"Name": "a", "Tags": [{"Key": str(n), "Value": ""} for n in range(51)]}, "TagLimitExceeded"),
        ({"Name": "a", "DataProtectionPolicy": "{}"}, "UnsupportedOperation"),
    ],
    ids=range(13),
)
def test_topics_that_cannot_be(api, sns, asked, code):
    api.refused(code, sns.create_topic, **asked)


def test_an_account_has_so_many_topics(api, sns, monkeypatch):
    monkeypatch.setattr(topics, "MOST", 1)
    with pytest.raises(ClientError) as refusal:
        sns.create_topic(Name="more")
    assert refusal.value.response["Error"]["Code"] == "TopicLimitExceeded"
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    sns.create_topic(Name="alerts")


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"Protocol": "sms", "Endpoint": "+1"}, "UnsupportedOperation"),
        ({"Protocol": "email", "Endpoint": "a@b.c"}, "UnsupportedOperation"),
        ({"Protocol": "https"}, "InvalidParameter"),
        ({"Protocol": "https", "Endpoint": "http://x.example"}, "InvalidParameter"),
        ({"Protocol": "https", "Endpoint": "https://x.example/a b"}, "InvalidParameter"),
        ({"Protocol": "https", "Endpoint": "https:///a"}, "InvalidParameter"),
        ({"Protocol": "https", "Endpoint": "https://x.example:port/"}, "InvalidParameter"),
        ({"Protocol": "https", "Endpoint": "https://x.example/" + "a" * 2048}, "InvalidParameter"),
        ({"Protocol": "https", "Endpoint": "https://u:p@x.example/"}, "UnsupportedOperation"),
        (
            {"Protocol": "https", "Endpoint": "https://x.example", "Attributes": {"ReplayPolicy": "{}"}},
            "UnsupportedOperation",
        ),
        (
            {"Protocol": "https", "Endpoint": "https://x.example", "Attributes": {"RawMessageDelivery": "maybe"}},
            "InvalidParameter",
        ),
        ({"Protocol": "https", "Endpoint": "https://x.example", "Attributes": {"Nothing": "1"}}, "InvalidParameter"),
    ],
    ids=range(12),
)
def test_subscriptions_that_cannot_be(api, sns, asked, code):
    api.refused(code, sns.subscribe, TopicArn=TOPIC, **asked)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"Message": ""}, "InvalidParameter"),
        ({"Message": "x" * (publishing.MOST_BYTES + 1)}, "InvalidParameter"),
        ({"Message": "m", "Subject": ""}, "InvalidParameter"),
        ({"Message": "m", "Subject": "x" * 100}, "InvalidParameter"),
        ({"Message": "m", "Subject": "x\ny"}, "InvalidParameter"),
        ({"Message": "m", "Subject": " x"}, "InvalidParameter"),
        ({"Message": "m", "MessageStructure": "xml"}, "InvalidParameter"),
        ({"Message": "m", "MessageStructure": "json"}, "InvalidParameter"),
        ({"Message": "[]", "MessageStructure": "json"}, "InvalidParameter"),
        ({"Message": '{"http": "m"}', "MessageStructure": "json"}, "InvalidParameter"),
        ({"Message": "[" * 100_000, "MessageStructure": "json"}, "InvalidParameter"),
        ({"Message": "m", "TargetArn": TOPIC}, "InvalidParameter"),
        ({"Message": "m", "TopicArn": None}, "InvalidParameter"),
        ({"Message": "m", "TopicArn": None, "PhoneNumber": "+1"}, "UnsupportedOperation"),
        ({"Message": "m", "MessageGroupId": "g"}, "UnsupportedOperation"),
        ({"Message": "m", "TopicArn": TOPIC + "x"}, "NotFound"),
    ],
    ids=range(16),
)
def test_messages_that_cannot_be(api, sns, asked, code):
    given = {name: value for name, value in ({"TopicArn": TOPIC} | asked).items() if value is not None}
    api.refused(code, sns.publish, **given)


def test_what_nobody_confirmed_is_forgotten(api, sns, sending, receiver):
    arn = subscribe(sns, sending, receiver, TOPIC)
    sns.subscribe(TopicArn=TOPIC, Protocol="https", Endpoint="https://x.example")
    asyncio.run(sending.loop().forget())
    assert api.run(lambda tx: tx.session.query(Subscription).count()) == 2
    sending.now += subscriptions.VALID + timedelta(hours=1)
    asyncio.run(sending.loop().forget())
    [left] = sns.list_subscriptions()["Subscriptions"]
    assert left["SubscriptionArn"] == arn
    assert api.run(lambda tx: tx.session.query(TopicMessage).count()) == 0


def test_an_old_token_confirms_nothing(api, sns, sending, receiver):
    sns.subscribe(TopicArn=TOPIC, Protocol="https", Endpoint=receiver.url)
    run(sending)

    def age(tx):
        for row in tx.session.query(Subscription):
            row.token_until -= subscriptions.VALID + timedelta(seconds=1)

    api.run(age)
    api.refused("InvalidParameter", sns.confirm_subscription, TopicArn=TOPIC, Token=receiver.last.fields["Token"])


def test_a_deleted_topic_takes_its_messages_with_it(api, sns, sending, receiver):
    subscribe(sns, sending, receiver, TOPIC)
    sns.publish(TopicArn=TOPIC, Message="m")
    sns.delete_topic(TopicArn=TOPIC)
    run(sending)
    assert len(receiver.arrived) == 1
    asyncio.run(sending.loop().forget())
    assert api.run(lambda tx: tx.session.query(TopicMessage).count()) == 0
    api.refused("NotFound", sns.confirm_subscription, TopicArn=TOPIC, Token="t")


def test_who_waits_longest_comes_first(api, sns):
    asked = {"TopicArn": TOPIC, "Protocol": "https", "ReturnSubscriptionArn": True}
    arns = [sns.subscribe(**asked, Endpoint=f"https://x.example/{n}")["SubscriptionArn"] for n in range(4)]
    first, second, *others = sorted(arn.rpartition(":")[2] for arn in arns)
    at = api.world.now

    def due(**without):
        given = {"without": (), "without_accounts": (), "limit": 3} | without
        found = api.run(lambda tx: deliveries.due(tx, at, **given))
        return [one.subscription_id for one in found]

    def wait(tx):
        for row in tx.session.query(Subscription):
            row.due = at - timedelta(seconds={first: 1, second: -1}.get(row.id, 2))

    api.run(wait)
    assert due() == [*others, first]
    assert due(limit=1) == others[:1]
    assert due(without=[others[0], first]) == others[1:]
    assert due(without_accounts=[ACCOUNT]) == []
    assert due(without_accounts=["222222222222"]) == [*others, first]
