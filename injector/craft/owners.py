"""What the pod's annotations tell the sidecar of it: what made it, and the images of its containers.

The sidecar reads both strictly and does not start where it cannot (proxy/documents/pod_files.py), so nothing
is written that it would not take. An empty text is always taken, and never grants anything.
"""

from collections.abc import Iterable

from injector.reading.pods import Container
from proxy.documents.pod_files import read_images, read_owner
from proxy.documents.setting_values import SettingProblem


def owner_text(owner: str) -> str:
    """`Job/train`; empty where the sidecar would not take it for one. Nothing is granted by an owner."""
    return "" if isinstance(read_owner(owner.encode()), SettingProblem) else owner


def images_text(containers: Iterable[Container]) -> str:
    """Their images, each once; empty where one of them is not known.

    Policies with conditions on images want every image to be allowed, and at least one to be there
    (proxy/judge/grants.py): left out, a foreign image would go unseen. A container without an image gets one
    from a webhook behind us, and that one is not known either.
    """
    images = dict.fromkeys(container.image for container in containers)
    text = " ".join(images)
    read = read_images(text.encode())
    known = not isinstance(read, SettingProblem) and len(read) == len(images)
    return text if known else ""
