"""`stead instance interrupt`: an operator gives a Spot Instance the notice that others' launches give."""

from click.testing import CliRunner

from stead_cli.instance import instance as commands


def test_an_operator_interrupts_spot_instances_only(cloud, account, image_id, monkeypatch):
    monkeypatch.setattr("stead_cli.instance.settings.load", lambda: cloud.settings)

    def interrupt(instance_id, fails=""):
        done = CliRunner().invoke(commands, ["interrupt", instance_id])
        assert (done.exit_code != 0) is bool(fails), done.output
        assert fails in done.output
        return done.output

    launch = {"ImageId": image_id, "InstanceType": "stead.tiny", "MinCount": 1, "MaxCount": 1}
    [plain] = account.ec2.run_instances(**launch)["Instances"]
    [spot] = account.ec2.run_instances(**launch, InstanceMarketOptions={"MarketType": "spot"})["Instances"]
    interrupt(plain["InstanceId"], fails="is on demand")
    interrupt("i-00000000000000000", fails="i-00000000000000000")
    interrupt("i-1", fails="i-1")
    said = interrupt(spot["InstanceId"])
    assert "has notice and ends at" in said
    assert interrupt(spot["InstanceId"]) == said  # it ends when it was to end
    [request] = account.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[spot["SpotInstanceRequestId"]])[
        "SpotInstanceRequests"
    ]
    assert request["Status"]["Code"] == "marked-for-termination"
    ids = [plain["InstanceId"], spot["InstanceId"]]
    account.ec2.terminate_instances(InstanceIds=ids)
    interrupt(spot["InstanceId"], fails="there is nothing to interrupt")
