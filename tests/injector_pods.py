"""Strategies of pods as anybody may write them, and of what others do to a pod between two calls."""

import copy
from typing import Any, Final

from hypothesis import strategies as st

from injector.engine.world import World
from tests.admission_world import ALL, a_world
from tests.cluster_policies import exchange, grant, policy, source
from tests.injected_pods import defaulted

# Names that the injector would set, and some that it would not.
VARIABLES: Final = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "JAVA_TOOL_OPTIONS",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "AWS_ACCESS_KEY_ID",
    "HTTPS_PROXY",
    "https_proxy",
    "http_proxy",
    "NO_PROXY",
    "PATH",
    "LEARNING_RATE",
)
SERVICES: Final = ("openai", "anthropic", "huggingface", "wandb")
PATHS: Final = ("/data", "/cache", "/dev/shm", "/etc/ssl", "/var/log", "/opt/podkey")
LEVELS: Final = ("privileged", "baseline", "restricted")


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6)
ENTRIES = st.one_of(
    st.fixed_dictionaries({"name": one_of(*VARIABLES)}, optional={"value": VALUES}),
    st.fixed_dictionaries(
        {
            "name": one_of(*VARIABLES),
            "valueFrom": one_of(
                {"fieldRef": {"fieldPath": "metadata.name"}},
                {"configMapKeyRef": {"name": "settings", "key": "k"}},
            ),
        }
    ),
)
ENV_FROM = one_of(
    {"configMapRef": {"name": "settings"}},
    {"secretRef": {"name": "settings", "optional": True}},
    {"prefix": "APP_", "configMapRef": {"name": "settings"}},
    {"prefix": "OPENAI_", "configMapRef": {"name": "settings"}},
)
AMOUNTS = one_of({}, {"cpu": "1", "memory": "1Gi"}, {"cpu": "2"}, {"nvidia.com/gpu": "1"})
RESOURCES = some(limits=AMOUNTS, requests=AMOUNTS)
SECURITY = some(
    runAsUser=one_of(0, 1000, 1001),
    runAsNonRoot=st.just(value=True),
    capabilities=one_of({"drop": ["ALL"]}, {"add": ["CHOWN"]}),
    readOnlyRootFilesystem=st.booleans(),
)


@st.composite
def containers(draw: st.DrawFn, name: str, volumes: list[str]) -> dict[str, Any]:
    mounts = [
        {"name": volume, "mountPath": path, **draw(some(readOnly=st.booleans()))}
        for volume, path in zip(volumes, draw(st.permutations(PATHS)), strict=False)
    ]
    fields = draw(
        some(
            env=st.lists(ENTRIES, max_size=4),
            envFrom=st.lists(ENV_FROM, max_size=2),
            volumeMounts=one_of(mounts, mounts[:1], []),
            resources=RESOURCES,
            securityContext=SECURITY,
            ports=one_of([], [{"containerPort": 8080}]),
            command=one_of(["python", "train.py"], []),
            aFieldOfTomorrow=one_of({"x": 1}, [None], "x"),
        )
    )
    return {"name": name, "image": f"registry.test/{name}:1", **fields}


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    """Sound ones: nothing in them is a reason to refuse them."""
    volumes = draw(st.lists(one_of("data", "cache", "logs"), unique=True, max_size=3))
    names = draw(st.permutations(("app", "web", "sync", "istio", "prepare", "download", "logger")))
    apps, inits = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    spec = draw(
        some(
            serviceAccountName=one_of("default", "trainer"),
            automountServiceAccountToken=st.booleans(),
            restartPolicy=one_of("Always", "Never", "OnFailure"),
            securityContext=SECURITY,
            nodeSelector=one_of({"gpu": "a100"}, {}),
            enableServiceLinks=st.booleans(),
            schedulerName=st.just("default-scheduler"),
            aFieldOfTomorrow=one_of({"x": [1.5]}, None),
        )
    )
    spec["containers"] = [draw(containers(name, volumes)) for name in names[:apps]]
    if inits or draw(st.booleans()):
        spec["initContainers"] = [
            {**draw(containers(name, volumes)), **draw(some(restartPolicy=st.just("Always")))}
            for name in names[apps : apps + inits]
        ]
    if volumes or draw(st.booleans()):
        spec["volumes"] = [{"name": name, "emptyDir": {}} for name in volumes]
    metadata = draw(
        some(
            name=st.just("train-0"),
            generateName=st.just("train-"),
            labels=one_of({}, {"app": "train"}),
            annotations=one_of(
                {},
                {"example.com/note": "b\n~/"},
                {"podkey.io/inject": "enabled"},
                {"podkey.io/placeholders-beside-env-from": "set"},
                {"podkey.io/capture": "explicit"},
            ),
            ownerReferences=one_of(
                [],
                [{"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "u", "controller": True}],
            ),
        )
    )
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {}}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Every pod of `ml` gets a sidecar; how, and with which services, differs."""
    services = draw(st.lists(one_of(*SERVICES), unique=True, max_size=3))
    grants = [{"service": service, "credential": "one"} for service in services]
    host = grant(credential="two")
    documents = [policy(*grants, host, accounts=["*"]), source(), exchange("two")]
    labels = {**ALL, "pod-security.kubernetes.io/enforce": draw(one_of(*LEVELS))}
    chosen = documents if draw(st.booleans()) else []
    return a_world(*chosen, labels=labels, native=draw(st.booleans()))


@st.composite
def touched(draw: st.DrawFn, pod: dict[str, Any]) -> dict[str, Any]:
    """What the API server and other webhooks do to a pod before they ask again."""
    found = defaulted(pod) if draw(st.booleans()) else copy.deepcopy(pod)
    spec = found["spec"]
    mesh = {"name": "mesh", "image": "registry.test/mesh:1"}
    if draw(st.booleans()):
        spec["containers"].insert(draw(one_of(0, len(spec["containers"]))), mesh)
    if draw(st.booleans()):
        spec.setdefault("initContainers", []).append({**mesh, "name": "mesh-init"})
    if draw(st.booleans()):
        spec.setdefault("volumes", []).insert(0, {"name": "mesh", "emptyDir": {}})
    if draw(st.booleans()):
        found["metadata"].setdefault("annotations", {})["example.com/mesh"] = "yes"
    return found
