"""boto3 of any generation: small and in parts, whole and a range, a listing. `crt`: by way of the CRT."""

import io
import json
import sys
from hashlib import sha256
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig

bucket, prefix, folder, how = sys.argv[1:]
s3 = boto3.client("s3")
parts = (
    TransferConfig(preferred_transfer_client="crt")
    if how == "crt"
    else TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20, max_concurrency=8)
)
files = Path(folder)

s3.put_object(Bucket=bucket, Key=f"{prefix}/small", Body=(files / "small").read_bytes())
s3.upload_file(str(files / "large"), bucket, f"{prefix}/large", Config=parts)

small = s3.get_object(Bucket=bucket, Key=f"{prefix}/given-small")["Body"].read()
large = io.BytesIO()
s3.download_fileobj(bucket, f"{prefix}/given-large", large, Config=parts)
part = s3.get_object(Bucket=bucket, Key=f"{prefix}/given-large", Range="bytes=1000000-1999999")["Body"].read()
listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")["Contents"]

told = {
    "small": sha256(small).hexdigest(),
    "large": sha256(large.getvalue()).hexdigest(),
    "range": sha256(part).hexdigest(),
    "listed": sorted(one["Key"] for one in listed),
}
print(json.dumps(told))  # noqa: T201 - the test reads it
