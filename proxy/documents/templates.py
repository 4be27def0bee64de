"""Templates for hosts and paths in catalogue entries, and the small values beside them."""

import re
from collections.abc import Container

from proxy.core.globs import MAX_STARS, Glob
from proxy.core.hosts import CAPTURE, SHAPED_CAPTURES, HostTemplate, parse_hostname
from proxy.core.services import DRAWN, PathTemplate
from proxy.documents.problems import Fault, ProblemCode
from proxy.documents.shapes import Text

_HOST_FIX = "write a lower-case host in which `{name}` stands for a label and `{name+}` for several"
_PATH_FIX = "write a path with `{name}` for a segment, or part of one, and `{name+}` once for several"


def _captures_once(text: str, *, but: Container[str] = ()) -> None:
    names = [capture[1] for capture in CAPTURE.finditer(text) if capture[1] not in but]
    if len(set(names)) != len(names):
        raise Fault(f"`{text}` captures the same name twice", "give each capture its own name")


def parse_host_template(text: str) -> HostTemplate:
    """Raises `Fault`. At most one capture takes several labels: two could divide a name in many ways."""
    template = HostTemplate(text)
    # What has a shape of its own can be found again, and beside something else in one label.
    _captures_once(text, but=SHAPED_CAPTURES)
    if sum(bool(capture[2]) for capture in CAPTURE.finditer(text)) > 1:
        raise Fault(f"`{text}` has two captures of several labels", "use `+` once")
    if any(sum(c[1] not in SHAPED_CAPTURES for c in CAPTURE.finditer(la)) > 1 for la in text.split(".")):
        raise Fault(f"`{text}` captures twice in one label", "capture a label, or one part of it")
    if any("+}" in label and not CAPTURE.fullmatch(label) for label in text.split(".")):
        raise Fault(f"`{text}`: a capture of several labels must be whole labels", _HOST_FIX)
    if parse_hostname(filled := template.filled({})) != filled:  # also where it is not in lower case
        raise Fault(f"`{text}` is not a host template", _HOST_FIX, ProblemCode.HOST_MALFORMED)
    return template


HOST_TEMPLATE = Text("a host template", parse_host_template, examples=("{bucket+}.s3.example.com",))


def _path_template(text: str) -> PathTemplate:
    rest = CAPTURE.sub("x", text)
    if not text.startswith("/") or not re.fullmatch(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/]*", rest):
        raise Fault(f"`{text}` is not a path template", _PATH_FIX)
    _captures_once(text)
    if any(len(CAPTURE.findall(segment)) > 1 for segment in text.split("/")):
        raise Fault(f"`{text}` captures twice in one segment", "capture a segment, or one part of it")
    pluses = [capture[0] for capture in CAPTURE.finditer(text) if capture[2]]
    if len(pluses) > 1:
        raise Fault(f"`{text}` has two captures of several segments", "use `+` once")
    if any(not text.endswith(plus) and plus not in text.split("/") for plus in pluses):
        raise Fault(f"`{text}`: `{{…+}}` must be whole segments, or stand at the end", _PATH_FIX)
    return PathTemplate(text)


PATH_TEMPLATE = Text("a path template", _path_template, "^/", ("/{bucket}/{key+}",))


def _blob_host(text: str) -> Glob:
    fits = re.fullmatch(r"[a-z0-9*][a-z0-9*.-]*\.[a-z0-9-]+\.[a-z]+", text)
    if not fits or any(label.count("*") > MAX_STARS for label in text.split(".")):
        raise Fault(f"`{text}` is not a host", "write a host such as `cdn.example.com`; `*` within a label")
    return Glob(text)


BLOB_HOST = Text("a host", _blob_host)


def _placeholder_value(text: str) -> str:
    rest = DRAWN.sub("", text)
    if "{" in rest or "}" in rest:
        fix = "write {hex:N}, {alnum:N} or {upper:N} with N from 1 to 99"
        raise Fault(f"`{text}` holds an unknown placeholder", fix)
    return text


PLACEHOLDER_VALUE = Text("a value", _placeholder_value)


def _base_path(text: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text) or {".", ".."} & set(text.split("/")):
        raise Fault(f"`{text}` is not the path of a base URL", "write it like `/v1`, or leave it out")
    return text


BASE_PATH = Text("a path", _base_path, "^/", ("/v1",))
