"""What podman is given differs from what the injector wrote in the rows of the table, and in nothing else."""

import copy
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.netns import ROOT
from tests.pod_translation import NODE_FILES, TABLE, changed, translated

FOLDER: Final = ROOT / "tests" / "pods"
PAGE: Final = ROOT / "docs" / "pods.md"
MANIFESTS: Final = ("job.yaml", "standing.yaml")


def written_by_the_injector(manifest: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "proxy", "inject", "-f", str(FOLDER / "manifests" / manifest)]
    argv += ["--policies", str(FOLDER / "policies"), "--image", "registry.example.com/podkey:1"]
    done = subprocess.run(argv, capture_output=True, check=True, cwd=ROOT)
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found


@pytest.fixture(scope="module", params=MANIFESTS)
def injected(request: pytest.FixtureRequest) -> dict[str, Any]:
    return written_by_the_injector(request.param)


def played(injected: dict[str, Any]) -> dict[str, Any]:
    spec = injected["spec"]
    folders = {one["name"]: Path("/volumes", one["name"]) for one in spec["volumes"]}
    folders |= {name: Path("/node", name) for name in NODE_FILES}
    return translated(injected, folders, Fields())


class Fields(dict[str, str]):
    def __missing__(self, path: str) -> str:
        return f"<{path}>"


def container(pod: dict[str, Any], name: str) -> dict[str, Any]:
    spec = pod["spec"]
    found: dict[str, Any] = next(
        one for one in (*spec.get("initContainers", ()), *spec["containers"]) if one["name"] == name
    )
    return found


def test_the_difference_is_the_table(injected: dict[str, Any]) -> None:
    found = changed(injected, played(injected))

    # A Job's pod has its restartPolicy already.
    unused = {"spec.restartPolicy"} if injected["spec"]["restartPolicy"] == "Never" else set()
    assert found == {row.place for row in TABLE} - unused


def test_what_it_is_given_is_left_as_it_is(injected: dict[str, Any]) -> None:
    before = copy.deepcopy(injected)
    played(injected)
    assert injected == before


def test_the_sidecar_is_a_container_and_stands_first(injected: dict[str, Any]) -> None:
    spec = played(injected)["spec"]

    assert [one["name"] for one in spec["initContainers"]] == ["podkey-redirect"]
    assert [one["name"] for one in spec["containers"]] == ["podkey", "train"]


def test_each_volume_is_a_folder_of_the_node(injected: dict[str, Any]) -> None:
    for volume in played(injected)["spec"]["volumes"]:
        top = "/node" if volume["name"] in NODE_FILES else "/volumes"
        assert volume == {"name": volume["name"], "hostPath": {"path": f"{top}/{volume['name']}"}}


def test_the_node_s_files_are_mounted_read_only_into_every_container(injected: dict[str, Any]) -> None:
    pod = played(injected)
    for name in ("podkey-redirect", "podkey", "train"):
        mounts = {one["name"]: one for one in container(pod, name)["volumeMounts"]}
        for file, path in NODE_FILES.items():
            assert mounts[file] == {"name": file, "mountPath": path, "readOnly": True}


def test_fields_of_the_downward_api_become_values(injected: dict[str, Any]) -> None:
    env = {one["name"]: one for one in container(played(injected), "podkey")["env"]}
    assert env["PODKEY_ADMIN_ADDRESS"] == {"name": "PODKEY_ADMIN_ADDRESS", "value": "<status.podIP>"}


def test_security_images_commands_and_resources_are_the_injectors(injected: dict[str, Any]) -> None:
    pod = played(injected)
    for name in ("podkey-redirect", "podkey", "train"):
        before, after = container(injected, name), container(pod, name)
        for field in ("image", "command", "securityContext", "resources", "workingDir"):
            assert before.get(field) == after.get(field)


def test_a_reference_to_a_variable_is_refused(injected: dict[str, Any]) -> None:
    pod = copy.deepcopy(injected)
    container(pod, "train")["env"].append({"name": "ALL", "value": "$(HOME)/x"})
    with pytest.raises(ValueError, match="ALL refers to another variable"):
        played(pod)


# --- `changed` sees what it has to see -----------------------------------------------------------


def test_pods_that_are_the_same_have_no_difference(injected: dict[str, Any]) -> None:
    assert changed(injected, copy.deepcopy(injected)) == set()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", "another"),
        ("command", ["sh"]),
        ("securityContext", {}),
        ("resources", {}),
        ("tty", True),
        ("args", ["x"]),
    ],
)
def test_a_changed_container_is_told(injected: dict[str, Any], field: str, value: Any) -> None:
    other = copy.deepcopy(injected)
    container(other, "podkey")[field] = value
    assert any(one.startswith(f"spec.{{}}[].{field}") for one in changed(injected, other))


def test_other_changes_are_told() -> None:
    pod = written_by_the_injector("job.yaml")

    def after(change: str) -> set[str]:
        other = copy.deepcopy(pod)
        exec(change, {"pod": other, "container": container})
        return changed(pod, other)

    assert after("pod['spec']['hostNetwork'] = True") == {"spec.hostNetwork"}
    assert after("pod['metadata']['labels']['app'] = 'x'") == {"metadata.labels.app"}
    assert after("del pod['metadata']['labels']['app']") == {"metadata.labels[]"}
    assert after("container(pod, 'train')['env'][0]['value'] = 'x'") == {"spec.{}[].env[].value"}
    assert after("container(pod, 'train')['env'].pop()") == {"spec.{}[].env[]"}
    assert after("container(pod, 'train')['env'].reverse()") == {"spec.{}[].env[]"}
    assert after("container(pod, 'train')['env'].append({'name': 'X'})") == {"spec.{}[].env[] added"}
    assert after("pod['spec']['volumes'].append({'name': 'x'})") == {"spec.volumes[] added"}
    assert after("pod['spec']['volumes'][0]['hostPath'] = {'path': '/'}") == {"spec.volumes[].hostPath"}
    assert after("pod['spec']['containers'].append({'name': 'x'})") == {"spec.{}[]"}
    assert after("pod['spec']['initContainers'].reverse()") == {"spec.{}[]"}


# --- the page ------------------------------------------------------------------------------------


def test_the_page_shows_the_table() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [(row.place, row.lacks, row.stands) for row in TABLE]
