"""The sidecar's settings that no platform team sets for all pods."""

from typing import Final

from proxy.core import contract
from proxy.documents import settings_table as table

# The injector chooses them for each pod, or mounts, probes, tokens and the application's variables stand on
# their defaults: a second value would be ignored, or break the pod.
SETTLED: Final = frozenset(
    {
        contract.PROXY_UID_VARIABLE,
        *(
            setting.name
            for setting in (
                table.NAMESPACE_NAME,
                table.SERVICE_ACCOUNT,
                table.POD_NAME,
                table.POD_UID,
                table.NODE_NAME,
                table.CLUSTER,
                table.LABELS_FILE,
                table.OWNER_FILE,
                table.IMAGES_FILE,
                table.PLACEHOLDERS_FILE,
                table.GPU,
                # Only the token of our own audience is mounted.
                table.AUDIENCE,
                table.CAPTURE,
                table.TRANSPARENT_PORT,
                table.EXPLICIT_PORT,
                table.ADMIN_ADDRESS,
                table.ADMIN_PORT,
                table.ENDPOINTS,
                table.ENDPOINT_TOKEN,
                table.POLICY_DIR,
                table.SECRETS_DIR,
                table.TOKENS_DIR,
                table.STATE_DIR,
                table.TRUST_DIR,
            )
        ),
    }
)
