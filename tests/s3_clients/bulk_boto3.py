"""One large file, eight parts or ranges at a time: `upload` or `download`."""

import sys

import boto3
from boto3.s3.transfer import TransferConfig

direction, bucket, key, file = sys.argv[1:]
size = 16 << 20
config = TransferConfig(
    multipart_threshold=size, multipart_chunksize=size, max_concurrency=8, max_io_queue=64
)
s3 = boto3.client("s3")
if direction == "upload":
    s3.upload_file(file, bucket, key, Config=config)
else:
    s3.download_file(bucket, key, file, Config=config)
