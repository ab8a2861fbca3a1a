#!/bin/sh
# A machine by the AWS CLI, version 1 or 2: made, looked at, removed. Run it in a shell of `stead env`.
set -eu
aws() { command "${AWS_CLI:-aws}" "$@"; }
export AWS_PAGER=''

image=$(aws ec2 describe-images --owners amazon --query 'sort_by(Images,&CreationDate)[-1].ImageId' --output text)
machine=$(aws ec2 run-instances --image-id "$image" --instance-type t3.nano --query 'Instances[0].InstanceId' \
  --tag-specifications 'ResourceType=instance,Tags=[{Key=Name,Value=aws-cli}]' --output text)
trap 'aws ec2 terminate-instances --instance-ids "$machine" --output text >&2' EXIT
aws ec2 wait instance-running --instance-ids "$machine"
aws ec2 describe-instances --filters Name=tag:Name,Values=aws-cli Name=instance-state-name,Values=running \
  --query '{machine: Reservations[0].Instances[0].InstanceId, listed: Reservations[].Instances[].InstanceId}' --output json
