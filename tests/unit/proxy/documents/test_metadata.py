import pytest

from proxy.documents.metadata import METADATA, Metadata, document
from proxy.documents.reading import INVALID
from proxy.documents.shapes import Text
from tests.document_strategies import read_shape

THING = document("Thing", Text("a word"), "What it is.", lambda metadata, spec: (metadata, spec))
VALID = "apiVersion: podkey.io/v1alpha1\nkind: Thing\nmetadata: {name: thing}\nspec: word\n"


def test_a_document_is_built_from_its_metadata_and_its_spec() -> None:
    assert read_shape(THING, VALID) == ((Metadata("thing", "default"), "word"), [])


def test_what_the_api_server_and_kubectl_add_is_allowed_and_not_read() -> None:
    text = """\
name: thing
namespace: ml
uid: 3d9a
resourceVersion: "12"
generation: 3
creationTimestamp: 2026-01-01T00:00:00Z
labels: {team: nlp}
annotations: {note: hello}
finalizers: []
ownerReferences: [{kind: Team}]
managedFields: [{manager: kubectl}]
"""
    assert read_shape(METADATA, text) == (Metadata("thing", "ml"), [])
    assert read_shape(THING, VALID + "status: {conditions: []}\n")[1] == []


@pytest.mark.parametrize(
    ("change", "code", "line", "path", "message", "fix"),
    [
        (
            ("v1alpha1", "v1"),
            "unknown_kind",
            1,
            "apiVersion",
            "`podkey.io/v1` is not",
            "write `podkey.io/v1alpha1`",
        ),
        (("Thing", "Thong"), "unknown_kind", 2, "kind", "`Thong` is not `Thing`", "write `Thing`"),
        (
            ("name: thing", "name: THING"),
            "bad_value",
            3,
            "metadata.name",
            "`THING` is not a Kubernetes object name",
            "lower-case",
        ),
        (("{name: thing}", "{}"), "missing_key", 3, "metadata", "`name` is missing", "add `name:`"),
        (
            ("{name: thing}", "{name: thing, namespace: a.b}"),
            "bad_value",
            3,
            "metadata.namespace",
            "not a namespace",
            "at most 63",
        ),
        (
            ("{name: thing}", "{name: 12}"),
            "wrong_type",
            3,
            "metadata.name",
            "`12` without quotes is a number",
            '"12"',
        ),
        (
            ("{name: thing}", "{name: thing, label: x}"),
            "unknown_key",
            3,
            "metadata",
            "`label` in metadata",
            "use one of: name",
        ),
        (("spec: word\n", ""), "missing_key", 1, "", "`spec` is missing", "add `spec:` (a word)"),
        (("spec:", "specs:"), "missing_key", 1, "", "`spec` is missing", "add `spec:` (a word)"),
    ],
)
def test_tells_what_is_wrong_with_the_frame_of_a_document(
    change: tuple[str, str], *, code: str, line: int, path: str, message: str, fix: str
) -> None:
    value, problems = read_shape(THING, VALID.replace(*change))
    problem = problems[-1]
    assert value is INVALID
    assert (problem.code.value, problem.line, problem.path) == (code, line, path)
    assert message in problem.message
    assert fix in problem.fix


def test_the_schema_takes_the_exact_version_and_kind() -> None:
    properties = THING.schema()["properties"]
    assert properties["apiVersion"]["pattern"] == r"^podkey\.io/v1alpha1$"
    assert properties["kind"]["pattern"] == "^Thing$"
