"""Stands for the training program. It knows nothing of podkey: its keys come from the environment."""

import io
import os

import boto3
import requests
from botocore.exceptions import ClientError

s3 = boto3.client("s3")

shards = s3.list_objects_v2(Bucket="acme-datasets", Prefix="imagenet/")["Contents"]
size = sum(len(s3.get_object(Bucket="acme-datasets", Key=one["Key"])["Body"].read()) for one in shards)
print(f"read       {len(shards)} shards, {size} bytes")

s3.upload_fileobj(io.BytesIO(b"weights " * 1_500_000), "acme-checkpoints", "resnet/step-100.pt")
saved = s3.head_object(Bucket="acme-checkpoints", Key="resnet/step-100.pt")
print(f"saved      resnet/step-100.pt, {saved['ContentLength']} bytes")

# As the client of Weights & Biases sends it: GraphQL, with the key as a password.
mutation = {"query": "mutation UpsertBucket { upsertBucket { bucket { id } } }"}
key = os.environ["WANDB_API_KEY"]
answer = requests.post("https://api.wandb.ai/graphql", auth=("api", key), json=mutation, timeout=30)
print(f"reported   {answer.status_code}")

try:
    s3.delete_object(Bucket="acme-checkpoints", Key="resnet/step-100.pt")
except ClientError as error:
    print(f"refused    {error.response['Error']['Code']}: {error.response['Error']['Message']}")
