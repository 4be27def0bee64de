"""What a person waits for: `podkey --help`, and `podkey check` on 10,000 documents. Whole processes."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

RUNS = 5
DOCUMENTS = 10_000
GOALS = {"podkey --help": 0.15, f"podkey check, {DOCUMENTS:,} documents": 3.0}
SOURCES_PER_POLICY = 2  # as teams write them: a policy, and about two sources with it
DOCUMENTS_PER_FILE = 500

POLICY = """\
apiVersion: podkey.io/v1alpha1
kind: AccessPolicy
metadata:
  name: train-{n}
  namespace: team-{team}
spec:
  workloads:
    serviceAccounts: [trainer-{n}]
    podSelector:
      matchLabels: {{app: train-{n}}}
    gpu: required
  grants:
    - service: s3
      buckets: [datasets-{n}]
      prefixes: [imagenet/, laion/]
      access: [read, list]
      credential: s3-{n}
    - hosts: [api-{n}.example.com]
      methods: [GET, POST]
      paths: ["/v1/**"]
      credential: api-{n}
"""
S3_SOURCE = """\
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {{name: s3-{n}, namespace: team-{team}}}
spec:
  mountedSecret:
    secretName: s3-{n}
    keys: {{accessKeyId: id, secretAccessKey: key}}
"""
API_SOURCE = """\
apiVersion: podkey.io/v1alpha1
kind: CredentialSource
metadata: {{name: api-{n}, namespace: team-{team}}}
spec:
  mountedSecret: {{secretName: api-{n}, key: token}}
  attach: {{bearer: {{}}}}
"""


def documents() -> Iterator[str]:
    for number in range(DOCUMENTS // (1 + SOURCES_PER_POLICY) + 1):
        for template in (POLICY, S3_SOURCE, API_SOURCE):
            yield template.format(n=number, team=number % 20)


def write_folder(folder: Path) -> None:
    texts = list(documents())[: DOCUMENTS // 3 * 3]
    texts.append(API_SOURCE.format(n="spare", team=0))
    for start in range(0, len(texts), DOCUMENTS_PER_FILE):
        text = "---\n".join(texts[start : start + DOCUMENTS_PER_FILE])
        (folder / f"policies-{start:05}.yaml").write_text(text)


def wall_seconds(arguments: list[str]) -> list[float]:
    times = []
    for _ in range(RUNS + 1):  # the first fills caches
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "proxy", *arguments], capture_output=True, check=False)
        times.append(time.perf_counter() - start)
        if done.returncode:
            raise SystemExit(done.stdout.decode() + done.stderr.decode())
    return sorted(times[1:])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder))
        commands = dict(zip(GOALS, (["--help"], ["check", folder]), strict=True))
        figures = {name: wall_seconds(arguments) for name, arguments in commands.items()}
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{'':<36}{'best':>9}{'median':>9}{'goal':>9}")
    for name, times in figures.items():
        median = times[len(times) // 2]
        print(f"{name:<36}{times[0]:>7.3f} s{median:>7.3f} s{GOALS[name]:>7.2f} s")
    print(f"largest process: {peak:.0f} MiB")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "commands.json").write_text(json.dumps({**figures, "peak_mib": peak}, indent=2) + "\n")


if __name__ == "__main__":
    main()
