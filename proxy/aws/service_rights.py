"""What grants on Bedrock, SageMaker and ECR allow, in IAM's words.

Actions and ARNs as in the Service Authorization Reference of each. The names on the left are operations of
the built-in catalogue.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from proxy.aws.partitions import Partition
from proxy.aws.rights import Right, pattern
from proxy.core.globs import Glob
from proxy.core.policy import Grant
from proxy.core.services import Service

Actions = Mapping[str, tuple[str, ...]]

# --- Bedrock -----------------------------------------------------------------------------------------

# On a model. Converse is InvokeModel to IAM, and ConverseStream InvokeModelWithResponseStream.
ON_MODELS: Final[Actions] = {
    "bedrock:InvokeModel": (
        "bedrock:CountTokens",
        "bedrock:InvokeModel",
        "bedrock:InvokeModelWithResponseStream",
    ),
}
# On whatever the body names, or on things that no pin is about.
ON_BEDROCK: Final[Actions] = {
    "bedrock:ApplyGuardrail": ("bedrock:ApplyGuardrail",),
    "bedrock:InvokeGuardrailChecks": ("bedrock:InvokeGuardrailChecks",),
    "bedrock:StartAsyncInvoke": ("bedrock:InvokeModel", "bedrock:StartAsyncInvoke"),
    "bedrock:GetAsyncInvoke": ("bedrock:GetAsyncInvoke",),
    "bedrock:ListAsyncInvokes": ("bedrock:ListAsyncInvokes",),
}

# --- SageMaker ---------------------------------------------------------------------------------------

ON_ENDPOINTS: Final[Actions] = {
    "sagemaker:InvokeEndpoint": (
        "sagemaker:InvokeEndpoint",
        "sagemaker:InvokeEndpointAsync",
        "sagemaker:InvokeEndpointWithResponseStream",
    ),
}

# --- ECR ---------------------------------------------------------------------------------------------

_LAYERS: Final = "ecr:BatchCheckLayerAvailability"
# Which API a registry asks on behalf of a request: "Amazon ECR repository policies", and the permissions to
# pull and to push of "Identity-based policy examples" (ECR User Guide).
ON_REPOSITORIES: Final[Actions] = {
    "ecr:GetManifest": ("ecr:BatchGetImage",),
    "ecr:GetBlob": (_LAYERS, "ecr:GetDownloadUrlForLayer"),
    "ecr:ListTags": ("ecr:ListImages",),
    "ecr:ListReferrers": ("ecr:BatchGetImage", "ecr:ListImageReferrers"),
    "ecr:StartUpload": (_LAYERS, "ecr:InitiateLayerUpload"),
    "ecr:Upload": ("ecr:CompleteLayerUpload", "ecr:UploadLayerPart"),
    "ecr:PutManifest": ("ecr:BatchGetImage", "ecr:PutImage"),
    "ecr:MountBlob": (_LAYERS, "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload"),
    "ecr:DeleteManifest": ("ecr:BatchDeleteImage",),
}
# The token is for all registries that the caller may reach; what it may do there, the rest says.
_TOKEN: Final = "ecr:GetAuthorizationToken"  # noqa: S105 - the name of an action
ON_REGISTRIES: Final[Actions] = dict.fromkeys(("ecr:CheckApi", *ON_REPOSITORIES), (_TOKEN,))

# By service: the operations whose names are known.
KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "bedrock-runtime": frozenset(ON_MODELS) | frozenset(ON_BEDROCK),
    "sagemaker-runtime": frozenset(ON_ENDPOINTS),
    "ecr": frozenset(ON_REGISTRIES),
}


def service_rights(grant: Grant, service: Service, partition: Partition) -> Iterator[Right]:
    names = sorted({operation.name for operation in service.operations_of(grant)})
    pins = dict(grant.pins)
    regions = [pattern(glob) for glob in pins.get("region", ())] or ["*"]
    for name in names:
        for action in ON_BEDROCK.get(name, ()):
            yield Right("*", action)
        for action in ON_MODELS.get(name, ()):
            yield from _on_models(action, pins.get("model", ()), partition)
        for action in ON_ENDPOINTS.get(name, ()):
            for endpoint in _endpoints(pins.get("endpoint", ()), regions, partition):
                yield Right(endpoint, action)
        for action in ON_REGISTRIES.get(name, ()):
            yield Right("*", action)
        for action in ON_REPOSITORIES.get(name, ()):
            for repository in _repositories(pins, regions, partition):
                yield Right(repository, action)


def _on_models(action: str, models: tuple[Glob, ...], partition: Partition) -> Iterator[Right]:
    """A name is that of a foundation model, or of an inference profile, which has models of its own behind it
    ("Prerequisites for inference profiles"). The two look alike, so either may be asked for."""
    if not models:
        yield Right("*", action)
    bedrock = f"arn:{partition.id}:bedrock:*:"
    for glob in models:
        name = pattern(glob)
        # What a profile leads to: models of several regions, and a profile of Amazon's behind one of ours.
        profile = name if name.startswith("arn:") else f"{bedrock}*:*inference-profile/{name}"
        through = (("StringLike", "bedrock:InferenceProfileArn", profile),)
        if name.startswith("arn:"):
            yield Right(name, action)
        else:
            yield Right(f"{bedrock}:foundation-model/{name}", action)
            yield Right(profile, action)
        if "inference-profile/" in profile:
            yield Right(f"{bedrock}:foundation-model/*", action, through)
            yield Right(f"{bedrock}*:inference-profile/*", action, through)


def _endpoints(names: tuple[Glob, ...], regions: list[str], partition: Partition) -> Iterator[str]:
    for region in regions:
        endpoint = f"arn:{partition.id}:sagemaker:{region}:*:endpoint/"
        # SageMaker writes the names of its ARNs in lower case.
        found = {pattern(glob) for glob in names} | {pattern(glob).lower() for glob in names}
        yield from (endpoint + name for name in sorted(found or {"*"}))


def _repositories(
    pins: Mapping[str, tuple[Glob, ...]], regions: list[str], partition: Partition
) -> Iterator[str]:
    accounts = [pattern(glob) for glob in pins.get("account", ())]
    names = [pattern(glob) for glob in pins.get("repo", ())] or ["*"]
    for region in regions:
        for account in accounts:
            registry = f"arn:{partition.id}:ecr:{region}:{account}:repository/"
            yield from (registry + name for name in names)
