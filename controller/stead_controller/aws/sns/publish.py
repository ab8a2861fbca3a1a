"""Publish."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.notifications import publishing, topics
from stead_controller.resources.notifications.message_attributes import Attribute
from stead_controller.resources.notifications.publishing import Message


@operation("Publish", service="sns")
def publish(call: Call, params: Params) -> Result:
    """Send a message to all that are subscribed to a topic."""
    if params.get("PhoneNumber"):
        raise Unsupported("Text messages to phones are not supported: the parameter PhoneNumber.")
    by_topic, by_target = params.get("TopicArn"), params.get("TargetArn")
    if bool(by_topic) == bool(by_target):
        raise InvalidParameter("Invalid parameter: TopicArn or TargetArn Reason: one of them is needed, and one alone")
    arn, parameter = (by_topic, "TopicArn") if by_topic else (str(by_target), "TargetArn")
    topic = topics.find(call.tx, call.caller, call.cloud, arn, parameter=parameter)
    text = params["Message"]
    message = Message(
        bodies=publishing.read_bodies(text, params.get("MessageStructure")),
        subject=params.get("Subject"),
        attributes=_attributes(params),
    )
    publishing.check(text, message)
    return {"MessageId": publishing.publish(call.tx, topic, message, call.now)}


def _attributes(params: Params) -> dict[str, Attribute]:
    given = params.get("MessageAttributes") or {}
    return {
        name: Attribute(one.get("DataType", ""), one.get("StringValue"), one.get("BinaryValue"))
        for name, one in given.items()
    }
