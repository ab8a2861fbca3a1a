"""Objects by boto3, whose transfers go in parts and in parallel: objects.py BUCKET FILE COPY."""

import sys

import boto3
from boto3.s3.transfer import TransferConfig

bucket, source, copy = sys.argv[1:]
# boto3 reads the endpoint, keys, CA and region from the environment that `stead env` gives.
s3 = boto3.client("s3")
in_parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=4)

s3.create_bucket(Bucket=bucket)
s3.upload_file(source, bucket, "file", Config=in_parts, ExtraArgs={"Metadata": {"from": "boto3"}})
s3.copy({"Bucket": bucket, "Key": "file"}, bucket, "copied", Config=in_parts)
s3.download_file(bucket, "copied", copy, Config=in_parts)
for key in ("file", "copied"):
    found = s3.head_object(Bucket=bucket, Key=key)
    sys.stdout.write(f"{key} {found['ContentLength']} {found['Metadata']} {found['ServerSideEncryption']}\n")
boto3.resource("s3").Bucket(bucket).objects.delete()
s3.delete_bucket(Bucket=bucket)
