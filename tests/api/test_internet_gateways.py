"""Internet gateways through boto3, and what sweeping tools list."""


def create(api, **params):
    return api.ec2.create_internet_gateway(**params)["InternetGateway"]


def test_a_gateway_is_attached_to_one_vpc_at_a_time(api):
    gateway = create(
        api, TagSpecifications=[{"ResourceType": "internet-gateway", "Tags": [{"Key": "a", "Value": "b"}]}]
    )
    assert gateway["Attachments"] == []
    assert gateway["Tags"] == [{"Key": "a", "Value": "b"}]
    gateway_id = gateway["InternetGatewayId"]
    vpc_id, other = (api.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"] for _ in range(2))
    place = {"InternetGatewayId": gateway_id, "VpcId": vpc_id}
    api.refused("Gateway.NotAttached", api.ec2.detach_internet_gateway, **place)
    api.ec2.attach_internet_gateway(**place)
    elsewhere = place | {"VpcId": other}
    api.refused("Resource.AlreadyAssociated", api.ec2.attach_internet_gateway, **elsewhere)
    api.refused("Gateway.NotAttached", api.ec2.detach_internet_gateway, **elsewhere)
    second = create(api)["InternetGatewayId"]
    message = api.refused(
        "InvalidParameterValue", api.ec2.attach_internet_gateway, InternetGatewayId=second, VpcId=vpc_id
    )
    assert "already has an internet gateway" in message
    (found,) = api.ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc_id]}])[
        "InternetGateways"
    ]
    assert found["Attachments"] == [{"State": "available", "VpcId": vpc_id}]
    by_state = {"Name": "attachment.state", "Values": ["available"]}
    assert len(api.ec2.describe_internet_gateways(Filters=[by_state])["InternetGateways"]) == 2
    api.refused("DependencyViolation", api.ec2.delete_internet_gateway, InternetGatewayId=gateway_id)
    api.ec2.detach_internet_gateway(**place)
    api.ec2.delete_internet_gateway(InternetGatewayId=gateway_id)
    api.refused("InvalidInternetGatewayID.NotFound", api.ec2.delete_internet_gateway, InternetGatewayId=gateway_id)


def test_a_gateway_stays_while_public_addresses_are_mapped(api):
    api.launch(public_address="198.18.0.7")
    (gateway,) = api.ec2.describe_internet_gateways()["InternetGateways"]
    place = {"InternetGatewayId": gateway["InternetGatewayId"], "VpcId": api.world.one.vpc_id}
    assert "mapped public address" in api.refused("DependencyViolation", api.ec2.detach_internet_gateway, **place)


def test_an_account_has_at_most_five(api):
    for _ in range(4):
        create(api)
    api.refused("InternetGatewayLimitExceeded", api.ec2.create_internet_gateway)


def test_what_sweeping_tools_list(api):
    assert api.ec2.describe_vpc_classic_link()["Vpcs"] == []
    assert api.ec2.describe_vpc_classic_link_dns_support(VpcIds=[api.world.one.vpc_id])["Vpcs"] == []
    api.refused("InvalidVpcID.NotFound", api.ec2.describe_vpc_classic_link, VpcIds=[api.world.other.vpc_id])


def test_what_of_the_kind_is_always_so(api):
    said = api.ec2.describe_vpc_block_public_access_options()["VpcBlockPublicAccessOptions"]
    assert (said["AwsAccountId"], said["InternetGatewayBlockMode"]) == (api.world.one.caller.account_id, "off")
