"""The examples are documentation: they are read, copied, and therefore tested."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.documents.credential_documents import SOURCE_SPEC
from proxy.documents.yaml_nodes import MappingNode, Node, line_of, read_nodes
from tests.command_line import EXAMPLES, ROOT, arguments_of, podkey

FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())
# Each is a story with a request to ask about; the others are a file for each thing of a kind.
STORIES = [folder for folder in FOLDERS if folder.name[0].isdigit()]
SOURCE_FILES = sorted((EXAMPLES / "credential-sources").glob("*.yaml"))
SOURCE_PAGES = ROOT / "docs/sources"
(KINDS,) = SOURCE_SPEC.exactly_one
POLICY_FILES = sorted(EXAMPLES.rglob("*.yaml"))
README = (EXAMPLES / "README.md").read_text()


def name_of(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_every_example_passes_check_by_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("check", str(folder)) == 0
    assert capsys.readouterr().out.startswith("ok: ")


def test_all_examples_together_pass_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert podkey("check", str(EXAMPLES)) == 0
    assert f" in {len(POLICY_FILES)} files " in capsys.readouterr().out


@pytest.mark.parametrize("folder", STORIES, ids=name_of)
def test_the_request_of_every_example_gets_a_credential_of_that_example(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = str(folder / "request.json")

    assert podkey("explain", "--policies", str(folder), "--input", request, "--output", "json") == 0

    verdict = json.loads(capsys.readouterr().out)["verdict"]
    namespace = json.loads(Path(request).read_text())["identity"]["namespace"]
    assert verdict["verdict"] == "attach"
    assert verdict["credential"].startswith(f"{namespace}/")


@pytest.mark.parametrize("folder", STORIES, ids=name_of)
def test_the_request_of_an_example_gets_nothing_in_another_namespace(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = json.loads((folder / "request.json").read_text())
    asked["identity"]["namespace"] = "somewhere-else"
    request = tmp_path / "request.json"
    request.write_text(json.dumps(asked))

    podkey("explain", "--policies", str(folder), "--input", str(request), "--output", "json")

    assert json.loads(capsys.readouterr().out)["verdict"]["reason"] == "ungoverned_host"


# --- a file for each kind of credential source -------------------------------------------------------


def camel_case(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)


def test_every_kind_of_source_has_its_example_and_no_other_has() -> None:
    assert {camel_case(file.stem) for file in SOURCE_FILES} == set(KINDS)


@pytest.mark.parametrize("file", SOURCE_FILES, ids=name_of)
def test_the_example_of_a_kind_is_sound_by_itself_and_shows_that_kind(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert podkey("check", str(file)) == 0
    assert capsys.readouterr().out.startswith("ok: ")

    nodes, _ = read_nodes(file.read_bytes(), file.name)
    specs = [dict(children(dict(children(document))["spec"])) for document in nodes]
    assert {camel_case(file.stem)} == {kind for spec in specs for kind in spec if kind in KINDS}
    # A credential is for something: each file has a grant that uses it.
    assert any("grants" in spec for spec in specs)


@pytest.mark.parametrize("file", SOURCE_FILES, ids=name_of)
def test_every_kind_of_source_has_its_page_which_leads_to_the_example(file: Path) -> None:
    page = (SOURCE_PAGES / f"{file.stem}.md").read_text()

    assert f"`{camel_case(file.stem)}`" in page.splitlines()[0]
    assert f"(../../examples/credential-sources/{file.name})" in page
    assert f"]({file.stem}.md)" in (SOURCE_PAGES / "README.md").read_text()


def test_every_page_of_a_source_is_that_of_a_kind() -> None:
    pages = {page.stem for page in SOURCE_PAGES.glob("*.md")} - {"README"}

    assert pages == {file.stem for file in SOURCE_FILES}


# --- all files ---------------------------------------------------------------------------------------


def grants_of(file: Path) -> Iterator[Node]:
    nodes, _ = read_nodes(file.read_bytes(), file.name)
    for document in nodes:
        spec = dict(children(document))["spec"]
        grants = dict(children(spec)).get("grants")
        yield from grants.value if grants else ()


def children(node: Node) -> Iterator[tuple[str, Node]]:
    if isinstance(node, MappingNode):
        yield from ((key.value, value) for key, value in node.value)


@pytest.mark.parametrize("file", POLICY_FILES, ids=name_of)
def test_every_policy_says_what_it_is_for_and_what_each_grant_is_for(file: Path) -> None:
    lines = file.read_text().splitlines()

    silent = [line_of(g) for g in grants_of(file) if not lines[line_of(g) - 2].lstrip().startswith("# ")]

    assert lines[0].startswith("# ")
    assert silent == []


def test_the_list_of_examples_is_complete() -> None:
    assert [folder.name for folder in FOLDERS if f"| [{folder.name}]({folder.name}/" not in README] == []


def test_the_commands_of_the_list_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    blocks = README.split("```console\n")[1:]
    commands = [line for block in blocks for line in block.partition("```")[0].splitlines()]

    statuses = {line: podkey(*words) for line in commands if (words := arguments_of(line)) is not None}

    assert statuses != {}
    assert set(statuses.values()) == {0}
