"""A release from its installation to its end, by Helm 3.6 and by Helm 4, in a real API server.

The authority of the webhooks is made by the injector and not by Helm, and its bundle is written into objects
of Helm's: neither may take it away from the other. While the injector is stopped nobody could mend it.
"""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from injector.cli.main import main
from proxy.cli.exit_status import OK, PROBLEMS
from tests.api_server import MISSING, ApiServer, kubernetes
from tests.api_server_client import ApiClient
from tests.e2e_cluster import RELEASE, Cluster, client_of
from tests.e2e_steps import MUTATING, NAME, VALIDATING
from tests.helm_chart import CHART, MISSING_HELM_4, NAMESPACE, helm4
from tests.helm_chart import MISSING as NO_HELM
from tests.injector_objects import POLICIES, enabled, grant, has_sidecar, pod, policy
from tests.injector_process import SERVICE_NUMBER, start
from tests.integration.test_e2e_rehearsal import for_1_20, service_port
from tests.sidecar_process import wait_for

pytestmark = pytest.mark.skipif(bool(MISSING or NO_HELM), reason=MISSING or NO_HELM)
needs_helm_4 = pytest.mark.skipif(bool(MISSING_HELM_4), reason=MISSING_HELM_4)

IMAGES: Final = ("registry.test/injector:1", "registry.test/proxy:1", "registry.test/app:1")

type Change = Callable[[Cluster, str, Path], None]


def by_helm_3(cluster: Cluster, how: str, chart: Path) -> None:
    if how == "uninstall":
        cluster.uninstall()
    else:
        more = ["--create-namespace"] if how == "install" else []
        cluster.helm(how, RELEASE, str(chart), *more)


def by_helm_4(cluster: Cluster, how: str, chart: Path) -> None:
    told = {"how": how, "chart": str(chart), "kubeconfig": cluster.kubeconfig, "values": {}}
    (said,) = helm4("change", told)
    assert "error" not in said, said


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with kubernetes(tmp_path_factory.mktemp("api") / "server") as made:
        made.admin.install(
            [yaml.safe_load(file.read_text()) for file in sorted((CHART / "crds").glob("*.yaml"))]
        )
        yield made


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The present one, and a later one that changes every object, and something in every webhook."""
    folder = tmp_path_factory.mktemp("charts")
    old, new = for_1_20(folder / "old"), for_1_20(folder / "new")
    for one in (old, new):
        # Helm 4 applies them on the server's side, which refuses rules in CEL where it is older than 1.23.
        shutil.rmtree(one / "crds")
    about = new / "Chart.yaml"
    about.write_text(re.sub(r"(?m)^version: .*$", "version: 99.0.0", about.read_text()))
    for name in ("mutating", "validating"):
        file = new / "templates" / f"{name}webhookconfiguration.yaml"
        changed = file.read_text().replace("timeoutSeconds: 5", "timeoutSeconds: 6")
        assert changed != file.read_text()
        file.write_text(changed)
    return old, new


def simple_kinds(folder: Path, **column: str) -> list[Path]:
    """The definitions, perhaps with a column more, and without what a server before 1.23 refuses to apply."""
    folder.mkdir()
    for file in sorted((CHART / "crds").glob("*.yaml")):
        kind = yaml.safe_load(file.read_text())
        (version,) = kind["spec"]["versions"]
        version["schema"] = _without_rules(version["schema"])
        if column:
            version["additionalPrinterColumns"].append(column)
        (folder / file.name).write_text(yaml.safe_dump(kind))
    return sorted(folder.iterdir())


def _without_rules(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_rules(one) for key, one in schema.items() if key != "x-kubernetes-validations"}
    return [_without_rules(one) for one in schema] if isinstance(schema, list) else schema


def webhooks(admin: ApiClient) -> list[dict[str, Any]]:
    found = [admin.get(resource, NAME).object["webhooks"] for resource in (MUTATING, VALIDATING)]
    return [one for every in found for one in every]


def bundles(admin: ApiClient) -> list[str]:
    return [one["clientConfig"].get("caBundle", "") for one in webhooks(admin)]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(by_helm_3, by_helm_3, id="3-3"),
        pytest.param(by_helm_4, by_helm_4, id="4-4", marks=needs_helm_4),
        pytest.param(by_helm_3, by_helm_4, id="3-4", marks=needs_helm_4),
    ],
)
def test_an_upgrade_keeps_the_authority_and_the_end_leaves_no_webhook(
    server: ApiServer, charts: tuple[Path, Path], tmp_path: Path, first: Change, then: Change
) -> None:
    admin = server.admin
    cluster = Cluster(client_of(str(server.kubeconfig)), str(server.kubeconfig), *IMAGES, kubelets=False)
    old, new = charts
    first(cluster, "install", old)
    service = admin.get("v1/services", NAME, namespace=NAMESPACE).object
    number = int(service["spec"]["clusterIP"].rpartition(".")[2]) - SERVICE_NUMBER
    running = start(server, tmp_path, number)
    try:
        running.wait_ready()
        wait_for(lambda: all(bundles(admin)), "the bundle in every webhook", 60)
        with service_port(running.address):
            namespace = enabled(cluster)
            assert has_sidecar(admin.create(pod("before"), namespace).object)
            probe = ["probe", "--kubeconfig", str(server.kubeconfig), "--wait", "20"]
            place = f"{running.address}:443"
            assert main([*probe, "--connect", place]) == OK, "what `helm test` runs"
    finally:
        running.stop()
    assert main([*probe, "--wait", "0", "--connect", place]) == PROBLEMS

    secret = admin.get("v1/secrets", f"{NAME}-ca", namespace=NAMESPACE).object
    before = bundles(admin)
    then(cluster, "upgrade", new)
    assert {one["timeoutSeconds"] for one in webhooks(admin)} == {6}, "it reached every webhook"
    assert bundles(admin) == before
    after = admin.get("v1/secrets", f"{NAME}-ca", namespace=NAMESPACE).object
    assert after["metadata"]["resourceVersion"] == secret["metadata"]["resourceVersion"]

    # Nobody answers: no pod starts, until the release is taken away.
    assert not admin.create(pod("between"), namespace).ok
    then(cluster, "uninstall", new)
    for resource in (MUTATING, VALIDATING):
        assert admin.get(resource, NAME).status == 404
    made = wait_for(
        lambda: one if (one := admin.create(pod("after"), namespace)).ok else None,
        "pods to start without it",
        30,
    )
    assert not has_sidecar(made.object)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_the_documented_command_upgrades_the_kinds_that_helm_installed(tmp_path: Path) -> None:
    """Helm owns their fields, and by itself never touches them again."""
    chart = for_1_20(tmp_path / "chart")
    shutil.rmtree(chart / "crds")
    simple_kinds(chart / "crds")
    newer = simple_kinds(tmp_path / "newer", name="New", type="string", jsonPath=".spec.mode")
    page = (CHART.parents[1] / "docs" / "upgrade.md").read_text()
    (command,) = re.findall(r"^\$ (kubectl apply .*) charts/podkey/crds/$", page, re.MULTILINE)
    with kubernetes(tmp_path / "server") as server:
        admin, config = server.admin, str(server.kubeconfig)
        cluster = Cluster(client_of(config), config, *IMAGES, kubelets=False)
        by_helm_3(cluster, "install", chart)
        # Nobody answers its webhook here; what is there already is to stay.
        for resource in (MUTATING, VALIDATING):
            admin.delete(resource, NAME)
        namespace = server.new_namespace()
        made = wait_for(
            lambda: (
                one
                if (one := admin.create(policy("train", grant("one.example.com")), namespace)).ok
                else None
            ),
            "a policy",
            30,
        )
        words = [*shlex.split(command), str(newer[0].parent), "--kubeconfig", config]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        kinds = "apiextensions.k8s.io/v1/customresourcedefinitions"
        for file in newer:
            (version,) = admin.get(kinds, f"{file.stem}.podkey.io").object["spec"]["versions"]
            assert version["additionalPrinterColumns"][-1]["name"] == "New"
        kept = admin.get(POLICIES, "train", namespace=namespace).object
        assert kept["spec"] == made.object["spec"]
