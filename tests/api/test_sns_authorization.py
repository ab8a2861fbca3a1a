"""Which policies let whom use topics: by the topic's ARN, its tags, and what is subscribed."""

import json

import pytest

from tests.api.identity import refused, who_may

TOPIC = "arn:aws:sns:us-east-1:111111111111:alerts"
URL = "https://hook.example/"


@pytest.fixture
def user(api):
    """A user's client, a setter of what it may, and the client of its account's owner."""
    iam = api.client(api.world.one, "iam")
    client = who_may(api, iam, "teller", "sns:ListTopics")("sns")

    def may(action, resource="*", **condition):
        statement = {"Effect": "Allow", "Action": action, "Resource": resource}
        if condition:
            statement["Condition"] = condition
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        iam.put_user_policy(UserName="teller", PolicyName="assume", PolicyDocument=json.dumps(policy))

    owner = api.client(api.world.one, "sns")
    owner.create_topic(Name="alerts")
    return client, may, owner


def test_a_policy_names_topics(user):
    client, may, owner = user
    other = owner.create_topic(Name="other")["TopicArn"]
    refused("AuthorizationError", client.publish, TopicArn=TOPIC, Message="m")
    may(["sns:Publish", "sns:GetTopicAttributes"], TOPIC)
    client.publish(TopicArn=TOPIC, Message="m")
    client.publish(TargetArn=TOPIC, Message="m")
    client.get_topic_attributes(TopicArn=TOPIC)
    for arn in ({"TopicArn": other}, {"TargetArn": other}):
        refused("AuthorizationError", client.publish, **arn, Message="m")
    refused("AuthorizationError", client.delete_topic, TopicArn=TOPIC)
    refused("AuthorizationError", client.list_topics)


def test_a_policy_says_what_may_subscribe(user):
    client, may, _ = user
    may("sns:Subscribe", StringEquals={"sns:Protocol": "https"}, StringLike={"sns:Endpoint": f"{URL}*"})
    asked = {"TopicArn": TOPIC, "Protocol": "https", "ReturnSubscriptionArn": True}
    arn = client.subscribe(**asked, Endpoint=f"{URL}a")["SubscriptionArn"]
    refused("AuthorizationError", client.subscribe, **asked, Endpoint="https://other.example/")
    refused("AuthorizationError", client.get_subscription_attributes, SubscriptionArn=arn)
    may("sns:GetSubscriptionAttributes", TOPIC)
    found = client.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert found["SubscriptionPrincipal"] == "arn:aws:iam::111111111111:user/teller"
    may("sns:GetSubscriptionAttributes", TOPIC + "x")
    refused("AuthorizationError", client.get_subscription_attributes, SubscriptionArn=arn)


def test_a_policy_looks_at_tags(user):
    client, may, owner = user
    may("sns:*", StringEquals={"aws:ResourceTag/team": "web"})
    refused("AuthorizationError", client.publish, TopicArn=TOPIC, Message="m")
    owner.tag_resource(ResourceArn=TOPIC, Tags=[{"Key": "team", "Value": "web"}])
    client.publish(TopicArn=TOPIC, Message="m")
    may("sns:CreateTopic")
    client.create_topic(Name="bare")
    tags = [{"Key": "team", "Value": "web"}]
    refused("AuthorizationError", client.create_topic, Name="tagged", Tags=tags)
    may(["sns:CreateTopic", "sns:TagResource"], StringEquals={"aws:RequestTag/team": "web"})
    client.create_topic(Name="tagged", Tags=tags)
    refused("AuthorizationError", client.create_topic, Name="more", Tags=[{"Key": "team", "Value": "db"}])


def test_who_has_no_signature_may_do_what_messages_say_and_nothing_else(api, user):
    nobody = api.unsigned("sns")
    refused("MissingAuthenticationToken", nobody.publish, TopicArn=TOPIC, Message="m")
    refused("MissingAuthenticationToken", nobody.list_topics)
    refused("InvalidParameter", nobody.confirm_subscription, TopicArn=TOPIC, Token="t")
    refused("InvalidParameter", nobody.unsubscribe, SubscriptionArn="x")
