"""A message as its receiver gets it, and the text that is signed. Pure.

See https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html and
https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from stead_controller.resources.notifications import publishing
from stead_controller.resources.notifications.deliveries import Outgoing
from stead_controller.resources.notifications.publishing import CONFIRMATION, ENDED, NOTIFICATION

SIGNATURE_VERSION: Final = "2"
"""RSA with SHA-256; version 1 is with SHA-1."""

VERSION: Final = "2010-03-31"
"""The version of SNS's API, which URLs have so that they are known to be of SNS."""

AGENT: Final = "Amazon Simple Notification Service Agent"

_SIGNED: Final = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ENDED: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


@dataclass(frozen=True, slots=True)
class Seal:
    """How messages are signed: `own_url` is the URL of the AWS APIs, `certificate_url` that of the certificate."""

    own_url: str
    certificate_url: str
    sign: Callable[[bytes], str]


def headers(message: Outgoing) -> dict[str, str]:
    """Return the headers of the request that brings a message."""
    found = {
        "x-amz-sns-message-type": message.kind,
        "x-amz-sns-message-id": message.message_id,
        "x-amz-sns-topic-arn": message.topic_arn,
        "Content-Type": "text/plain; charset=UTF-8",
        "User-Agent": AGENT,
    }
    if message.kind != CONFIRMATION:
        found["x-amz-sns-subscription-arn"] = message.subscription_arn
    if _is_raw(message):
        found["x-amz-sns-rawdelivery"] = "true"
    return found


def body(message: Outgoing, seal: Seal) -> bytes:
    """Return the body of the request that brings a message, which is signed unless it is raw."""
    if _is_raw(message):
        return message.text.encode()
    fields: dict[str, Any] = {"Type": message.kind, "MessageId": message.message_id}
    if message.kind != NOTIFICATION:
        fields["Token"] = message.token
    fields["TopicArn"] = message.topic_arn
    if message.subject is not None:
        fields["Subject"] = message.subject
    fields["Message"] = message.text
    if message.kind != NOTIFICATION:
        asked = {"TopicArn": message.topic_arn, "Token": message.token}
        fields["SubscribeURL"] = url(seal.own_url, "ConfirmSubscription", asked)
    fields["Timestamp"] = publishing.timestamp(message.created)
    fields["SignatureVersion"] = SIGNATURE_VERSION
    fields["Signature"] = seal.sign(signed_text(fields))
    fields["SigningCertURL"] = seal.certificate_url
    if message.kind == NOTIFICATION:
        asked = {"SubscriptionArn": message.subscription_arn}
        fields["UnsubscribeURL"] = url(seal.own_url, "Unsubscribe", asked)
    if message.attributes:
        shown = {name: {"Type": kind, "Value": value} for name, (kind, value) in message.attributes.items()}
        fields["MessageAttributes"] = shown
    return json.dumps(fields, indent=2, ensure_ascii=False).encode()


def signed_text(fields: Mapping[str, Any]) -> bytes:
    """Return what the signature of a message is of: names and values, a line each."""
    names = _SIGNED[fields["Type"]]
    return "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields).encode()


def url(own_url: str, action: str, asked: Mapping[str, str]) -> str:
    """Return the URL that calls an unsigned operation."""
    return f"{own_url}/?{urlencode({'Action': action, 'Version': VERSION, **asked})}"


def _is_raw(message: Outgoing) -> bool:
    return message.raw and message.kind == NOTIFICATION
