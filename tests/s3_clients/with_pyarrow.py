"""pyarrow's S3FileSystem: the AWS SDK for C++. `anonymous`: it signs nothing at all."""

import json
import os
import sys
from hashlib import sha256
from pathlib import Path

from pyarrow import fs

bucket, prefix, folder, how = sys.argv[1:]
base = f"{bucket}/{prefix}"
files = Path(folder)
region = os.environ["AWS_DEFAULT_REGION"]
store = fs.S3FileSystem(region=region, anonymous=how == "anonymous", background_writes=True)

for name in ("small", "large"):
    with store.open_output_stream(f"{base}/{name}") as stream:
        stream.write((files / name).read_bytes())

with store.open_input_stream(f"{base}/given-small") as stream:
    small = stream.read()
with store.open_input_file(f"{base}/given-large") as file:
    part = file.read_at(1_000_000, 1_000_000)
    large = file.read()
found = store.get_file_info(fs.FileSelector(base))

told = {
    "small": sha256(small).hexdigest(),
    "large": sha256(large).hexdigest(),
    "range": sha256(part).hexdigest(),
    "listed": sorted(one.path.removeprefix(f"{bucket}/") for one in found),
}
print(json.dumps(told), flush=True)  # noqa: T201 - the test reads it
fs.finalize_s3()
