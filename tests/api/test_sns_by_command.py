"""A topic through the aws command, with a whole controller that is killed while a message is on its way."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from stead_proto.certificates import Authority
from tests.support.receivers import NETWORK, Receiver
from tests.support.waiting import wait_for


@pytest.mark.story
def test_what_an_alarm_says_arrives_although_the_controller_is_killed(own_cloud, tmp_path):
    authority = Authority.create()
    ca_file = tmp_path / "receivers.pem"
    ca_file.write_bytes(authority.certificate_pem)
    cloud = own_cloud(hosts=0, options=(f"--webhook-network={NETWORK}", f"--webhook-ca-file={ca_file}"))
    account = cloud.new_account()
    receiver = Receiver(tmp_path, authority)
    try:
        topic = account.aws("sns", "create-topic", "--name", "alerts")["TopicArn"]
        named = ("--topic-arn", topic)
        account.aws("sns", "subscribe", *named, "--protocol", "https", "--notification-endpoint", receiver.url)
        wait_for(lambda: receiver.arrived, "the question whether it wants messages", 60)
        trusted = ssl.create_default_context(cafile=cloud.settings.controller_dir / "ca.pem")
        with urllib.request.urlopen(receiver.last.fields["SubscribeURL"], context=trusted):
            pass
        [shown] = account.aws("sns", "list-subscriptions-by-topic", *named)["Subscriptions"]
        assert shown["Endpoint"] == receiver.url
        receiver.status = 503
        cloudwatch = account.client("cloudwatch")
        cloudwatch.put_metric_alarm(
            AlarmName="a", Namespace="N", MetricName="m", Statistic="Sum", Period=60, EvaluationPeriods=1,
            Threshold=1.0, ComparisonOperator="GreaterThanThreshold", AlarmActions=[topic],
        )  # fmt: skip
        cloudwatch.set_alarm_state(AlarmName="a", StateValue="ALARM", StateReason="by hand")
        wait_for(lambda: len(receiver.arrived) > 1, "a message", 60)
        cloud.controller.kill()
        receiver.status = 200
        before = len(receiver.arrived)
        cloud.start_controller()
        wait_for(lambda: len(receiver.arrived) > before, "the message again", 60)
        fields = receiver.last.fields
        assert json.loads(fields["Message"])["NewStateReason"] == "by hand"
        with urllib.request.urlopen(fields["SigningCertURL"], context=trusted) as answer:
            certificate = x509.load_pem_x509_certificate(answer.read())
        names = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
        text = "".join(f"{name}\n{fields[name]}\n" for name in names).encode()
        signature = base64.b64decode(fields["Signature"])
        certificate.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
        elsewhere = urlsplit(fields["SigningCertURL"])._replace(path="/SimpleNotificationService-0.pem").geturl()
        with pytest.raises(urllib.error.HTTPError) as absent:
            urllib.request.urlopen(elsewhere, context=trusted)
        assert absent.value.code == 404
        account.aws_result("sns", "delete-topic", *named)
        assert account.aws("sns", "list-topics") in (None, {"Topics": []})
    finally:
        receiver.close()
