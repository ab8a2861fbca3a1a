#!/bin/sh
# A machine without IPv4 by the AWS CLI, version 1 or 2: made, looked at, removed. Run it in a shell of `stead env`.
set -eu
aws() { command "${AWS_CLI:-aws}" ec2 "$@"; }
export AWS_PAGER='' AWS_DEFAULT_OUTPUT=text

vpc=$(aws create-vpc --cidr-block 10.66.0.0/16 --amazon-provided-ipv6-cidr-block --query Vpc.VpcId)
block=$(aws describe-vpcs --vpc-ids "$vpc" --query 'Vpcs[0].Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlock')
subnet=$(aws create-subnet --vpc-id "$vpc" --ipv6-native --ipv6-cidr-block "${block%/*}/64" --query Subnet.SubnetId)
interface=$(aws create-network-interface --subnet-id "$subnet" --query NetworkInterface.NetworkInterfaceId \
  --connection-tracking-specification TcpEstablishedTimeout=3600,UdpTimeout=45)
image=$(aws describe-images --owners amazon --query 'sort_by(Images,&CreationDate)[-1].ImageId')
machine=$(aws run-instances --image-id "$image" --instance-type t3.nano --query 'Instances[0].InstanceId' \
  --network-interfaces "DeviceIndex=0,NetworkInterfaceId=$interface" --metadata-options HttpProtocolIpv6=enabled)
remove() {
  aws terminate-instances --instance-ids "$machine"
  aws wait instance-terminated --instance-ids "$machine"
  aws delete-network-interface --network-interface-id "$interface"
  aws delete-subnet --subnet-id "$subnet"
  aws delete-vpc --vpc-id "$vpc"
}
trap 'remove >&2' EXIT
aws wait instance-running --instance-ids "$machine"
aws describe-network-interfaces --filters Name=attachment.instance-id,Values="$machine" --output json \
  --query 'NetworkInterfaces[0].{block: `"'"$block"'"`, address: Ipv6Address, ipv4: PrivateIpAddress,
    idle: ConnectionTrackingConfiguration}'
