"""The client under s3torchconnector (Mountpoint's, on the CRT); torch adds only tensors on top of it."""

import json
import os
import sys
from hashlib import sha256
from pathlib import Path

from s3torchconnectorclient._mountpoint_s3_client import MountpointS3Client

bucket, prefix, folder = sys.argv[1:]
files = Path(folder)
client = MountpointS3Client(
    region=os.environ["AWS_DEFAULT_REGION"], user_agent_prefix="test", part_size=8 << 20
)

for name in ("small", "large"):
    writer = client.put_object(bucket, f"{prefix}/{name}")
    writer.write((files / name).read_bytes())
    writer.close()

small = b"".join(client.get_object(bucket, f"{prefix}/given-small"))
large = b"".join(client.get_object(bucket, f"{prefix}/given-large"))
part = b"".join(client.get_object(bucket, f"{prefix}/given-large", start=1_000_000, end=2_000_000))
listed = [one.key for page in client.list_objects(bucket, f"{prefix}/") for one in page.object_info]

told = {
    "small": sha256(small).hexdigest(),
    "large": sha256(large).hexdigest(),
    "range": sha256(part).hexdigest(),
    "listed": sorted(listed),
}
print(json.dumps(told))  # noqa: T201 - the test reads it
