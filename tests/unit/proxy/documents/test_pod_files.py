from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.identity import ImageReference
from proxy.documents.pod_files import (
    MAX_LABELS_BYTES,
    MAX_PLACEHOLDERS_BYTES,
    read_images,
    read_labels,
    read_owner,
    read_placeholders,
)
from proxy.documents.setting_values import SettingProblem

# As kubelets wrote them.
LABELS = b'app="train"\nempty=""\nteam="vision"'
ANNOTATIONS = r"""json="{\"a\":\"b\"}"
kubernetes.io/config.seen="2026-11-20T14:05:40.487971873Z"
note="line one\nline \"two\" \\ back ümlaut"
zz-last=""
""".encode()


def message(result: object) -> str:
    assert isinstance(result, SettingProblem)
    return result.message


def test_labels_are_read_as_the_kubelet_writes_them() -> None:
    assert read_labels(LABELS) == {"app": "train", "empty": "", "team": "vision"}
    assert read_labels(b"") == {}


def test_escapes_are_those_of_go() -> None:
    assert read_labels(ANNOTATIONS) == {
        "json": '{"a":"b"}',
        "kubernetes.io/config.seen": "2026-11-20T14:05:40.487971873Z",
        "note": 'line one\nline "two" \\ back ümlaut',
        "zz-last": "",
    }
    assert read_labels(rb'all="\a\b\f\n\r\t\v\x00\u200b\U000e0001\xc3\xbc"') == {
        "all": "\a\b\f\n\r\t\v\0\u200b\U000e0001ü"
    }
    assert read_labels('wide="a\u2028b"'.encode()) == {"wide": "a\u2028b"}


@pytest.mark.parametrize("line", [r"\q", r"\xff", r"\ud800", r"\U00110000", r"\Uffffffff", r"\x1", r"\'"])
def test_an_escape_that_go_does_not_write_is_a_problem(line: str) -> None:
    assert message(read_labels(f'\na="{line}"\n'.encode())) == "line 2 holds an escape that Go does not write"


@pytest.mark.parametrize("line", ["a", "a=b", 'a="', 'a="b', 'a="b"c', '="b"', ' a="b"', 'a="\\"', "a='b'"])
def test_a_line_that_is_no_label_is_a_problem(line: str) -> None:
    result = read_labels(line.encode())

    assert isinstance(result, SettingProblem)
    assert result.name == "PODKEY_LABELS_FILE"
    assert result.message == 'line 1 is not `key="value"`'
    assert result.fix == "mount the field metadata.labels of the downward API"


def test_a_labels_file_has_a_limit_and_is_text() -> None:
    limit = f"the file has more than {MAX_LABELS_BYTES} bytes"

    assert message(read_labels(b"#" * (MAX_LABELS_BYTES + 1))) == limit
    assert message(read_labels(b'a="\xff"')) == "the file is not UTF-8"


def go_quote(text: str) -> str:
    """strconv.Quote, for what Go and Python both call printable, and with the long forms for the rest."""
    named = {
        "\a": "a",
        "\b": "b",
        "\f": "f",
        "\n": "n",
        "\r": "r",
        "\t": "t",
        "\v": "v",
        "\\": "\\",
        '"': '"',
    }

    def one(c: str) -> str:
        if c in named:
            return "\\" + named[c]
        if c == " " or c.isprintable():
            return c
        return f"\\x{ord(c):02x}" if ord(c) < 0x80 else f"\\U{ord(c):08x}"

    return f'"{"".join(map(one, text))}"'


KEYS = st.from_regex(r"[a-z0-9./_-]{1,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_go_quotes_is_read_back(labels: dict[str, str]) -> None:
    data = "".join(f"{key}={go_quote(value)}\n" for key, value in labels.items())

    assert read_labels(data.encode()) == labels


@given(st.binary(max_size=60) | st.text(r'a="\xuUn0f' + "\n").map(str.encode))
@example(b'a="\\')
def test_reading_labels_is_total(data: bytes) -> None:
    assert isinstance(read_labels(data), dict | SettingProblem)


# --- images and owner --------------------------------------------------------------------------------

DIGEST = "sha256:" + "0123456789abcdef" * 4
TRAINER = "registry.example.com:5000/ml/trainer"


def test_images_are_references_between_blanks() -> None:
    data = f"{TRAINER}:v1@{DIGEST} nginx\n\tbusybox:latest\n".encode()

    assert read_images(data) == (
        ImageReference(TRAINER, DIGEST),
        ImageReference("nginx"),
        ImageReference("busybox"),
    )
    assert read_images(b"") == read_images(b" \n") == ()


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"Registry/x", "`Registry/x`"),
        (b"nginx docker-pullable://nginx@sha256:12", "`docker-pulla…`"),
        (b"nginx,busybox", "`nginx,busybo…`"),
        (b"nginx@sha256:12", "`nginx@sha256…`"),
    ],
)
def test_a_word_that_is_no_image_spoils_all(data: bytes, shown: str) -> None:
    found = read_images(data)

    assert isinstance(found, SettingProblem)
    assert (found.name, found.message) == ("PODKEY_IMAGES_FILE", f"{shown} is not an image reference")
    assert "registry.example.com/team/trainer@sha256:" in found.fix


@pytest.mark.parametrize(
    "owner", ["Job/train-resnet", "StatefulSet/a", "PyTorchJob/train.0", "ReplicaSet/x-6d4cf56db6"]
)
def test_an_owner_is_a_kind_and_a_name(owner: str) -> None:
    assert read_owner(owner.encode()) == owner
    assert read_owner(f"{owner}\n".encode()) == owner


@pytest.mark.parametrize("data", [b"", b"\n", b" "])
def test_a_pod_may_have_no_owner(data: bytes) -> None:
    assert read_owner(data) == ""


@pytest.mark.parametrize(
    "owner",
    ["train", "Job/", "/train", "Job/Train", "Job/a/b", "Job/a b", "Job/a\nJob/b", "1/x", "Job/" + "a" * 254],
)
def test_what_is_no_owner_is_a_problem_with_its_fix(owner: str) -> None:
    found = read_owner(owner.encode())

    assert isinstance(found, SettingProblem)
    assert found.name == "PODKEY_OWNER_FILE"
    assert found.message.endswith(" is not an owner")
    assert found.fix == "write a kind and a name: `Job/train-resnet`"


@pytest.mark.parametrize(
    ("read", "name"), [(read_images, "PODKEY_IMAGES_FILE"), (read_owner, "PODKEY_OWNER_FILE")]
)
def test_these_files_have_a_limit_and_are_text(read: Callable[[bytes], object], name: str) -> None:
    for data, why in (
        (b"a" * (MAX_LABELS_BYTES + 1), f"the file has more than {MAX_LABELS_BYTES} bytes"),
        (b"\xff", "the file is not UTF-8"),
    ):
        found = read(data)
        assert isinstance(found, SettingProblem)
        assert (found.name, found.message) == (name, why)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_reading_images_and_owners_is_total(data: bytes) -> None:
    assert isinstance(read_images(data), tuple | SettingProblem)
    assert isinstance(read_owner(data), str | SettingProblem)


# --- placeholders ------------------------------------------------------------------------------------


def test_placeholders_are_the_values_of_an_env_file() -> None:
    data = b"# by the injector\n\nOPENAI_API_KEY=sk-podkey-1234=\r\nSHORT=true\nB_2=a b c d e f\n"

    assert read_placeholders(data) == frozenset({"sk-podkey-1234=", "a b c d e f"})
    assert read_placeholders(b"") == frozenset()


@pytest.mark.parametrize(
    "line", ["KEY", "=value-of-it", "2A=value-of-it", "A B=value-of-it", "A=välue-of-it", "A=a\tb"]
)
def test_a_line_that_is_no_placeholder_is_a_problem_and_not_shown(line: str) -> None:
    result = read_placeholders(f"A=placeholder\n{line}\n".encode())

    assert isinstance(result, SettingProblem)
    assert result.name == "PODKEY_PLACEHOLDERS_FILE"
    assert result.message == "line 2 is not `NAME=value`"
    assert result.fix == "write a name, `=` and a value of printable ASCII"


def test_a_placeholders_file_has_a_limit_and_is_text() -> None:
    limit = f"the file has more than {MAX_PLACEHOLDERS_BYTES} bytes"

    assert message(read_placeholders(b"#" * (MAX_PLACEHOLDERS_BYTES + 1))) == limit
    assert message(read_placeholders(b"A=\xff")) == "the file is not UTF-8"


@given(st.binary(max_size=60))
def test_reading_placeholders_is_total(data: bytes) -> None:
    assert isinstance(read_placeholders(data), frozenset | SettingProblem)
