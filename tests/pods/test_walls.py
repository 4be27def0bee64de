"""What the application of a whole pod can reach of its sidecar: nothing of what it holds.

The pod of `standing.yaml` has done its work, and its process lives: what it ever held may still be there.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from proxy.core import contract
from tests.pod_lab import OPENAI, REGISTRY, STRANGER, Lab
from tests.pod_thefts import Sight, file_system, memory, sight, volumes
from tests.podman_pod import WholePod
from tests.sidecar_process import wait_for

PYTHON: Final = "python3"


@pytest.fixture(scope="module")
def standing(lab: Lab) -> Iterator[WholePod]:
    with lab.playing("standing.yaml") as pod:
        wait_for(lambda: "advice" in pod.log("train") or not pod.state("train")["Running"], "the work", 60)
        assert pod.state("train")["Running"], pod.log("train")
        yield pod


@pytest.fixture
def pod(standing: WholePod, lab: Lab) -> WholePod:
    lab.clear()
    return standing


def run(pod: WholePod, program: str, *arguments: str) -> str:
    """A program of the application, in Python."""
    done = pod.exec("train", [PYTHON, "-c", program, *arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- the search ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen(standing: WholePod, lab: Lab) -> Sight:
    return sight(standing, "train", lab.canary, also=lab.placeholders(standing))


def test_what_the_application_sees_holds_no_credential(seen: Sight) -> None:
    assert seen.searched.findings == []
    # It did look: into variables, and into the memory of the process that has made all the calls.
    assert seen.files > 20
    assert seen.memory > 10 * 1024**2
    for places in seen.searched.seen.values():
        assert any("/environ" in one for one in places), places
        assert any("/mem/" in one for one in places), places


def test_it_sees_no_process_but_its_own(seen: Sight) -> None:
    assert sorted(seen.processes) == ["python3 /app/look.py", "python3 /app/train.py --stay"]


def test_its_memory_holds_no_credential_though_it_made_all_the_calls(pod: WholePod, lab: Lab) -> None:
    looked = memory(pod, "train", lab.canary, also=lab.placeholders(pod))

    (found,) = looked.values()
    assert found.findings == []
    assert all(found.seen.values()), found.seen


def test_the_same_search_finds_the_key_where_it_is(pod: WholePod, lab: Lab) -> None:
    """In the sidecar, and only root of the node may look there."""
    found = [hit for one in memory(pod, "podkey", lab.canary).values() for hit in one.findings]

    assert any("openai key" in hit for hit in found)


def test_its_core_holds_no_credential(pod: WholePod, lab: Lab) -> None:
    crash = [PYTHON, "/app/train.py", "--crash"]

    done = pod.exec("train", crash, "--workdir", "/scratch", "--env", "RUN=crashed")

    assert done.returncode == 128 + 6, done.stderr
    assert "advice" in done.stdout  # it had made its calls
    work = pod.kubelet.volumes["work"]
    cores = [path for path in work.iterdir() if path.name.startswith("core")]
    if not cores:
        pytest.skip(f"cores go elsewhere here: {Path('/proc/sys/kernel/core_pattern').read_text()}")
    looked = volumes(pod, "train", lab.canary, also=lab.placeholders(pod))["work"]
    assert looked.findings == []
    for places in looked.seen.values():
        assert {path.name for path in cores} <= set(places)
    for path in cores:
        path.unlink()


def test_its_file_system_holds_no_credential_while_it_lives(pod: WholePod, lab: Lab) -> None:
    assert file_system(pod, "train", lab.canary).findings == []


# --- the walls -----------------------------------------------------------------------------------


def test_it_has_the_trust_files_and_nothing_else_of_ours(pod: WholePod) -> None:
    program = """
import os
print(sorted(os.listdir("/etc/podkey")), os.path.exists("/run/podkey"), os.path.exists("/var/run/podkey"))
mounts = [line.split() for line in open("/proc/self/mountinfo")]
print([(one[4], one[5][:2]) for one in mounts if "podkey" in one[4]])
print("PRIVATE KEY" in "".join(open(f"/etc/podkey/ca/{one}", errors="replace").read()
    for one in os.listdir("/etc/podkey/ca")))
"""
    assert run(pod, program).splitlines() == [
        "['ca'] False False",
        f"[('{contract.TRUST_DIR}', 'ro')]",
        "False",
    ]


def test_it_reaches_no_socket_of_the_sidecar_but_its_ports(pod: WholePod) -> None:
    program = f"""
import socket
try:
    socket.socket(socket.AF_UNIX).connect("{contract.STATE_DIR}/{contract.CONTROL_SOCKET}")
except OSError as error:
    print(type(error).__name__)
"""
    assert run(pod, program) == "FileNotFoundError"
    # Abstract sockets belong to the network, which both share; those with a path are for who has the path.
    process = Path("/proc", str(pod.state("podkey")["Pid"]))
    held = {one.readlink().name for one in process.joinpath("fd").iterdir()}
    unix = [line.split() for line in process.joinpath("net/unix").read_text().splitlines()[1:]]
    own = [one[7:] for one in unix if f"socket:[{one[6]}]" in held and one[7:]]
    assert own == [[f"{contract.STATE_DIR}/{contract.CONTROL_SOCKET}"]]


def test_what_the_admin_port_tells_it_holds_no_credential(pod: WholePod, lab: Lab) -> None:
    program = f"""
import os, urllib.request
for page in ("metrics", "readyz", "healthz"):
    print(urllib.request.urlopen("http://10.200.0.2:{contract.ADMIN_PORT}/" + page).read().decode())
"""
    told = run(pod, program)

    assert "podkey_" in told
    assert not lab.canary.find_in(told)


def test_it_cannot_become_the_user_whose_calls_are_not_captured(pod: WholePod) -> None:
    program = f"""
import os
try:
    os.setuid({contract.PROXY_UID})
except PermissionError:
    print("no")
print([line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapBnd"))])
"""
    assert run(pod, program).splitlines() == ["no", "['0000000000000000', '0000000000000000']"]


def test_the_sidecars_container_is_as_the_injector_says(pod: WholePod) -> None:
    """Of the process, as the kernel has it."""
    pid = pod.state("podkey")["Pid"]
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())

    assert status["Uid"].split() == [str(contract.PROXY_UID)] * 4
    assert status["Gid"].split() == [str(contract.PROXY_UID)] * 4
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    ours = {one[4] for one in mounts if one[5].startswith("rw") and "podkey" in one[4]}
    assert next(one[5] for one in mounts if one[4] == "/").startswith("ro")
    assert ours == {contract.TRUST_DIR, f"/run{contract.STATE_DIR.removeprefix('/var/run')}"}


def test_it_lives_as_the_kubelet_asks(pod: WholePod) -> None:
    assert pod.probe("podkey", "livenessProbe") == 200


def test_the_state_is_in_memory_and_bounded(pod: WholePod) -> None:
    for name, size in (("podkey-state", 16), ("podkey-trust", 8)):
        place = pod.kubelet.volumes[name]
        shown = subprocess.run(
            ["findmnt", "--noheadings", "--output", "FSTYPE,SIZE", str(place)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert shown.stdout.split() == ["tmpfs", f"{size}M"]


# --- its calls -----------------------------------------------------------------------------------

ASK: Final = """
import sys, requests
answer = requests.get(sys.argv[1], headers={"Authorization": sys.argv[2]} if sys.argv[2:] else {}, timeout=10)
print(answer.status_code, answer.headers.get("podkey-reason"))
"""


def test_what_no_grant_covers_is_refused_and_never_leaves_the_pod(pod: WholePod, lab: Lab) -> None:
    assert run(pod, ASK, f"https://{OPENAI}/v1/organization/admin_api_keys").startswith("403 ")
    assert lab.openai.requests == []


def test_another_teams_bucket_and_image_are_refused(pod: WholePod, lab: Lab) -> None:
    stored, pulled = len(lab.store.requests()), len(lab.registry.records())
    program = """
import boto3
from botocore.exceptions import ClientError
try:
    boto3.client("s3").get_object(Bucket="acme-payroll", Key="salaries")
except ClientError as error:
    print(error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
"""
    assert run(pod, program) == "AccessDenied 403"
    done = pod.exec("train", ["skopeo", "inspect", f"docker://{REGISTRY}/models/secret:1"])
    assert "403" in done.stderr
    assert len(lab.store.requests()) == stored
    # It may ask whether there is a registry; its question about the image stays in the pod.
    asked = {one.get("http.request.uri", "/v2/") for one in lab.registry.records()[pulled:]}
    assert asked <= {"/v2/"}


def test_a_host_that_no_policy_names_is_reached_unopened(pod: WholePod, lab: Lab) -> None:
    """Its own certificate, and what the application sends, untouched."""
    program = f"""
import socket, ssl
context = ssl.create_default_context()
with context.wrap_socket(socket.create_connection(("{STRANGER}", 443)), server_hostname="{STRANGER}") as sock:
    print(dict(pair[0] for pair in sock.getpeercert()["issuer"])["commonName"])
"""
    assert run(pod, program) == "The Internet's CA"
    assert run(pod, ASK, f"https://{STRANGER}/", "Bearer my-own").startswith("200 ")
    (request,) = lab.stranger.requests
    assert request.header("authorization") == ["Bearer my-own"]
    assert lab.canary.find_in(request.head) == []


def test_a_key_of_the_applications_own_does_not_pass(pod: WholePod, lab: Lab) -> None:
    assert run(pod, ASK, f"https://{OPENAI}/v1/models/gpt-5", "Bearer sk-stolen-elsewhere") == "200 None"
    assert not lab.openai.seen("sk-stolen-elsewhere")


# --- without the sidecar -------------------------------------------------------------------------

CALLS: Final = """
import boto3, requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError
for url in ("https://api.openai.com/v1/models/gpt-5", "https://weather.example/"):
    try:
        print(requests.get(url, timeout=10).status_code)
    except requests.RequestException as error:
        print("refused" if "Connection refused" in str(error) else repr(error))
try:
    once = Config(retries={"total_max_attempts": 1})
    found = boto3.client("s3", config=once).list_objects_v2(Bucket="acme-datasets", Prefix="train/")
    print(found["KeyCount"])
except BotoCoreError as error:
    print(type(error).__name__)
"""


def test_with_a_dead_sidecar_calls_fail_and_with_a_new_one_they_work(pod: WholePod, lab: Lab) -> None:
    """The kubelet starts a native sidecar again."""
    before = len(lab.store.requests())
    pod._engine("kill", pod.of("podkey"))
    assert pod.wait("podkey") == 128 + 9

    assert run(pod, CALLS).split() == ["refused", "refused", "EndpointConnectionError"]
    assert (lab.openai.requests, lab.stranger.requests) == ([], [])
    assert len(lab.store.requests()) == before

    pod.start_container("podkey")
    pod.wait_ready("podkey")
    assert run(pod, CALLS).split() == ["200", "200", "3"]
    assert [request.path for request in lab.openai.requests] == ["/v1/models/gpt-5"]
