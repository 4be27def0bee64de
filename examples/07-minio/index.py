"""Reads documents and writes an index. `AWS_ENDPOINT_URL_S3` says where the store is, as for any MinIO."""

import json

import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")

index: dict[str, list[str]] = {}
for one in s3.list_objects_v2(Bucket="documents", Prefix="public/")["Contents"]:
    text = s3.get_object(Bucket="documents", Key=one["Key"])["Body"].read().decode()
    for word in sorted(set(text.lower().split())):
        index.setdefault(word, []).append(one["Key"])
print(f"indexed    {len(index)} words")

s3.put_object(Bucket="indexes", Key="public/words.json", Body=json.dumps(index).encode())
print(f"written    {s3.head_object(Bucket='indexes', Key='public/words.json')['ContentLength']} bytes")

try:
    s3.get_object(Bucket="documents", Key="board/minutes.txt")
except ClientError as error:
    print(f"refused    {error.response['Error']['Code']}: {error.response['Error']['Message']}")
