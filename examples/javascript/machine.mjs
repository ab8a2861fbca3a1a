// A machine by version 3 of the AWS SDK for JavaScript: made, looked at, removed. Run it in a shell of `stead env`.
import {
  CreateTagsCommand,
  DescribeImagesCommand,
  EC2Client,
  RunInstancesCommand,
  TerminateInstancesCommand,
  paginateDescribeInstances,
  waitUntilInstanceRunning,
  waitUntilInstanceTerminated,
} from "@aws-sdk/client-ec2";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";

const ec2 = new EC2Client({}); // the endpoint, keys, region and CA (NODE_EXTRA_CA_CERTS) are those of the shell
const { Account: account } = await new STSClient({}).send(new GetCallerIdentityCommand({}));

const { Images: images } = await ec2.send(new DescribeImagesCommand({ Owners: ["amazon"] }));
images.sort((one, other) => one.CreationDate.localeCompare(other.CreationDate));
const { Instances: [{ InstanceId: machine }] } = await ec2.send(
  new RunInstancesCommand({
    ImageId: images.at(-1).ImageId,
    InstanceType: "t3.nano",
    MinCount: 1,
    MaxCount: 1,
  }),
);
const InstanceIds = [machine];
try {
  await waitUntilInstanceRunning({ client: ec2, maxWaitTime: 300, minDelay: 1, maxDelay: 5 }, { InstanceIds });
  await ec2.send(new CreateTagsCommand({ Resources: InstanceIds, Tags: [{ Key: "Name", Value: "javascript" }] }));
  const listed = [];
  const Filters = [{ Name: "tag:Name", Values: ["javascript"] }];
  for await (const page of paginateDescribeInstances({ client: ec2, pageSize: 5 }, { Filters })) {
    for (const { Instances: found } of page.Reservations) listed.push(...found.map((each) => each.InstanceId));
  }
  console.log(JSON.stringify({ account, machine, listed }));
} finally {
  await ec2.send(new TerminateInstancesCommand({ InstanceIds }));
  await waitUntilInstanceTerminated({ client: ec2, maxWaitTime: 300, minDelay: 1, maxDelay: 5 }, { InstanceIds });
}
