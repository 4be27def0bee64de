import json

import pytest

from proxy.documents.json_schema import CLUSTER_KINDS, KINDS, custom_resource_definition, json_schema
from proxy.documents.yaml_nodes import write_documents
from tests.command_line import podkey


@pytest.mark.parametrize("kind", KINDS)
def test_prints_the_json_schema_of_every_kind(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("schema", kind) == 0
    assert json.loads(capsys.readouterr().out) == json_schema(kind)


@pytest.mark.parametrize("kind", CLUSTER_KINDS)
def test_prints_the_crd_of_every_kind_that_clusters_know(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("schema", kind, "--output", "crd") == 0
    assert capsys.readouterr().out == write_documents([custom_resource_definition(kind)])


def test_a_kind_that_clusters_do_not_know_has_no_crd_to_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("schema", "CatalogueEntry", "--output", "crd") == 64

    out, err = capsys.readouterr()
    assert out == ""
    assert "CatalogueEntry has no CRD: it is read from policy folders only" in err


def test_takes_a_kind_in_any_case_as_kubectl_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("schema", "accesspolicy") == 0
    assert json.loads(capsys.readouterr().out) == json_schema("AccessPolicy")


def test_names_the_kinds_when_it_does_not_know_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("schema", "Secret") == 64

    err = capsys.readouterr().err
    assert [kind for kind in KINDS if kind not in err] == []
