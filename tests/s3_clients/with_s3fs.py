"""s3fs over aiobotocore and aiohttp."""

import json
import sys
from hashlib import sha256
from pathlib import Path

import s3fs

bucket, prefix, folder = sys.argv[1:]
base = f"{bucket}/{prefix}"
files = Path(folder)
# Its own parts: it sends them while it writes.
store = s3fs.S3FileSystem(default_block_size=8 << 20)

store.pipe(f"{base}/small", (files / "small").read_bytes())
with store.open(f"{base}/large", "wb") as file:
    file.write((files / "large").read_bytes())

small = store.cat(f"{base}/given-small")
with store.open(f"{base}/given-large", "rb") as file:
    large = file.read()
part = store.cat_file(f"{base}/given-large", start=1_000_000, end=2_000_000)

told = {
    "small": sha256(small).hexdigest(),
    "large": sha256(large).hexdigest(),
    "range": sha256(part).hexdigest(),
    "listed": sorted(path.removeprefix(f"{bucket}/") for path in store.ls(base, detail=False)),
}
print(json.dumps(told))  # noqa: T201 - the test reads it
