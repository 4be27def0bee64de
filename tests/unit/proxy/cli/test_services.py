import json
from pathlib import Path

import pytest

from proxy.core.services import Catalogue
from tests.command_line import NOBODY, podkey

ACME = """\
apiVersion: podkey.io/v1alpha1
kind: CatalogueEntry
metadata: {name: acme}
spec:
  title: Acme
  summary: "A service of ours.\\e[2J"
  endpoints:
    - hosts: [api.acme.example]
  attach: [{bearer: {}}]
"""


def test_lists_every_service_in_a_line(catalogue: Catalogue, capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("services") == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(catalogue)
    assert "Amazon S3" in next(line for line in lines if line.startswith("s3 "))


def test_shows_one_service_with_its_hosts_pins_and_what_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert podkey("services", "huggingface") == 0

    out = capsys.readouterr().out
    assert out.startswith("huggingface: ")
    assert "\nhosts: huggingface.co" in out
    assert "\nattached as: bearer" in out
    assert "\nplaceholder: HF_TOKEN=" in out
    assert "\npin repo" in out
    assert "\nrefused unless in allowMinting: xet-read-token" in out


def test_shows_what_each_access_class_of_a_service_covers(capsys: pytest.CaptureFixture[str]) -> None:
    podkey("services", "s3")

    out = capsys.readouterr().out
    classes = [line.partition(":")[0] for line in out.splitlines() if line.startswith("access ")]
    assert classes == ["access read", "access write", "access list", "access delete"]
    assert "\ngranted by name only: " in out


def test_shows_which_headers_and_ids_a_service_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("services", "s3") == 0
    out = capsys.readouterr().out

    assert "with destination or destination-account or seaweed-*: no grant covers the request" in out
    assert "other headers that begin with x- and may be sent: x-amz-content-sha256, x-amz-date, " in out
    assert "in the query with one value, which is not empty: annotationName, id, partNumber, " in out


def test_json_has_the_same_keys_for_every_service(
    catalogue: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("services", "--output", "json") == 0

    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == sorted(catalogue)
    assert {tuple(row) for row in rows} == {
        (
            "name",
            "title",
            "summary",
            "builtIn",
            "hosts",
            "blobHosts",
            "attach",
            "placeholders",
            "baseUrls",
            "pins",
            "operations",
            "minting",
        )
    }


def test_json_of_one_service_is_a_list_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("services", "openai", "--output", "json") == 0

    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["builtIn"], row["attach"]) == ("openai", True, ["bearer"])
    assert row["baseUrls"] == {"OPENAI_BASE_URL": "/v1"}


@pytest.mark.parametrize(
    ("service", "line"),
    [("openai", "base URL: OPENAI_BASE_URL, ending in /v1"), ("huggingface", "base URL: HF_ENDPOINT")],
)
def test_shows_by_which_variable_an_sdk_is_sent_to_an_endpoint(
    service: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    podkey("services", service)

    assert line in capsys.readouterr().out.splitlines()


def test_an_unknown_service_is_a_usage_error_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("services", "opnai") == 64

    out, err = capsys.readouterr()
    assert out == ""
    assert "there is no service `opnai`; did you mean `openai`?" in err


def test_shows_the_entries_of_a_policy_folder_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "acme.yaml").write_text(ACME)

    assert podkey("services", "acme", "--policies", str(tmp_path)) == 0
    # What a terminal would obey is shown, not done.
    assert capsys.readouterr().out.startswith(
        "acme: Acme\nA service of ours.\\x1b[2J\nhosts: api.acme.example\n"
    )


def test_problems_of_a_policy_folder_go_to_stderr_and_leave_json_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nobody.yaml").write_text(NOBODY)

    assert podkey("services", "--policies", str(tmp_path), "--output", "json") == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert f"{tmp_path}/nobody.yaml:5: spec.workloads.serviceAccounts: " in err
    assert "\n    fix: " in err
