// Objects by the AWS SDK for JavaScript v3: node objects.mjs BUCKET
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const Bucket = process.argv[2];
// The SDK reads keys, region and endpoint from the environment that `stead env` gives; buckets are in the path there.
const s3 = new S3Client({ forcePathStyle: true });

await s3.send(new CreateBucketCommand({ Bucket }));
await s3.send(new PutObjectCommand({ Bucket, Key: "small", Body: "content", ContentType: "text/plain" }));
const small = await s3.send(new GetObjectCommand({ Bucket, Key: "small" }));
console.log("small:", await small.Body.transformToString(), small.ContentType);

const content = Buffer.alloc(12 * 1024 * 1024, "large");
await new Upload({ client: s3, params: { Bucket, Key: "large", Body: content } }).done();
const large = await s3.send(new GetObjectCommand({ Bucket, Key: "large" }));
console.log("large:", content.equals(Buffer.from(await large.Body.transformToByteArray())));
const part = await s3.send(new GetObjectCommand({ Bucket, Key: "large", Range: "bytes=0-4" }));
console.log("range:", await part.Body.transformToString());
const told = await s3.send(
  new GetObjectAttributesCommand({ Bucket, Key: "small", ObjectAttributes: ["ObjectSize", "Checksum"] }),
);
console.log("attributes:", told.ObjectSize, Object.keys(told.Checksum ?? {}).join(" "));

try {
  await s3.send(new PutObjectCommand({ Bucket, Key: "small", Body: "another", IfNoneMatch: "*" }));
} catch (error) {
  console.log("conditional:", error.name);
}
const put = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: "signed" }));
console.log("signed put:", (await fetch(put, { method: "PUT", body: "by a URL" })).status);
const get = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: "signed" }));
console.log("signed get:", await (await fetch(get)).text());

const listed = await s3.send(new ListObjectsV2Command({ Bucket }));
const Objects = listed.Contents.map(({ Key }) => ({ Key }));
console.log("listed:", Objects.map(({ Key }) => Key).join(" "));
await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
await s3.send(new DeleteBucketCommand({ Bucket }));
