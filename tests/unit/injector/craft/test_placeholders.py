import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.core.outcome import Finding
from injector.craft.placeholders import Choose, draw, read_placeholders, render_placeholders
from proxy.core.injection_codes import InjectionCode
from proxy.core.services import Catalogue
from proxy.documents.pod_files import MAX_PLACEHOLDERS_BYTES
from proxy.documents.pod_files import read_placeholders as read_by_the_sidecar
from proxy.services.loader import built_in_catalogue


def chance(dice: random.Random) -> Choose:
    return lambda alphabet, count: "".join(dice.choices(alphabet, k=count))


@given(st.randoms(use_true_random=False))
def test_what_is_drawn_has_the_shape_of_the_catalogue_and_is_read_back(dice: random.Random) -> None:
    catalogue = built_in_catalogue()
    drawn = draw(catalogue.values(), chance(dice))
    wanted = {one.name for service in catalogue.values() for one in service.placeholders}
    assert drawn.keys() == wanted
    assert read_placeholders(render_placeholders(drawn), catalogue) == drawn


def test_services_that_want_the_same_variable_share_one_value(catalogue: Catalogue) -> None:
    drawn = draw((catalogue["s3"], catalogue["bedrock-runtime"]), chance(random.Random(4)))
    assert sorted(drawn) == ["AWS_ACCESS_KEY_ID", "AWS_EC2_METADATA_DISABLED", "AWS_SECRET_ACCESS_KEY"]
    assert drawn == draw((catalogue["s3"],), chance(random.Random(4)))


def test_two_pods_get_different_ones(catalogue: Catalogue) -> None:
    one, other = (draw((catalogue["openai"],), chance(random.Random(seed))) for seed in (1, 2))
    assert one["OPENAI_API_KEY"] != other["OPENAI_API_KEY"]


def test_a_value_of_the_catalogue_means_nothing_to_kubernetes(catalogue: Catalogue) -> None:
    """`$(NAME)` in `env` is replaced by the kubelet."""
    assert not [one for s in catalogue.values() for one in s.placeholders if "$" in one.value]


def test_the_text_is_the_same_for_the_same_values_and_the_sidecar_reads_it() -> None:
    text = render_placeholders({"B": "2" * 8, "A": "1" * 8})
    assert text == "A=11111111\nB=22222222"
    assert read_by_the_sidecar(text.encode()) == {"1" * 8, "2" * 8}
    assert render_placeholders({}) == ""


def test_no_text_holds_none(catalogue: Catalogue) -> None:
    assert read_placeholders("", catalogue) == {}


@pytest.mark.parametrize(
    "text",
    [
        "PATH=/tmp",
        "OPENAI_API_KEY",
        "OPENAI_API_KEY=",
        "OPENAI_API_KEY=sk-real-key-of-somebody",
        "\n",
        f"OPENAI_API_KEY=sk-podkey-{'a' * 32}\nOPENAI_API_KEY=sk-podkey-{'a' * 32}",
        f"OPENAI_API_KEY=sk-podkey-{'a' * 32}\n",
        "A" * (MAX_PLACEHOLDERS_BYTES + 1),
    ],
)
def test_what_nobody_has_drawn_is_refused_and_not_shown(text: str, catalogue: Catalogue) -> None:
    found = read_placeholders(text, catalogue)
    assert isinstance(found, Finding)
    assert found.code is InjectionCode.RESERVED_ANNOTATION
    assert "real-key" not in str(found)
    assert "podkey.io/placeholders" in found.message
