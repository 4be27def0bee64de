from injector.craft.endpoints import (
    FIRST_PORT,
    base_urls,
    endpoints_of,
    has_endpoint,
    render_endpoints,
)
from proxy.core import contract
from proxy.core.services import Catalogue
from proxy.core.settings import Endpoint
from proxy.core.structs import replace
from proxy.edge.endpoints import base_urls as urls_of_the_sidecar
from proxy.edge.endpoints import bind_endpoints, path_prefix

TOKEN = "ab" * 16


def test_ports_follow_the_services_names(catalogue: Catalogue) -> None:
    found = endpoints_of([catalogue["openai"], catalogue["anthropic"], catalogue["openai"]])
    assert found == (Endpoint(15101, "anthropic"), Endpoint(15102, "openai"))
    assert render_endpoints(found) == "15101=anthropic 15102=openai"


def test_ports_stay_clear_of_the_sidecars_own_and_of_ephemeral_ones(catalogue: Catalogue) -> None:
    last = FIRST_PORT + len(catalogue)
    assert max(contract.TRANSPARENT_PORT, contract.EXPLICIT_PORT, contract.ADMIN_PORT) < FIRST_PORT
    assert last < 32768


def test_a_service_with_a_host_for_each_bucket_has_no_base_url(catalogue: Catalogue) -> None:
    assert [s.name for s in catalogue.values() if has_endpoint(s)] == [
        "anthropic",
        "huggingface",
        "openai",
        "wandb",
    ]
    assert catalogue["s3"].base_urls


def test_the_urls_are_those_that_the_sidecar_answers_at(catalogue: Catalogue) -> None:
    endpoints = endpoints_of(catalogue.values())
    urls = base_urls(endpoints, catalogue, TOKEN)
    bound, problems = bind_endpoints(endpoints, catalogue)
    written = list(urls_of_the_sidecar(bound, path_prefix(TOKEN)))[1:]
    assert not problems
    assert [f"{name}={url}" for name, url in urls.items()] == written
    assert urls["OPENAI_BASE_URL"] == f"http://127.0.0.1:15103/podkey-{TOKEN}/v1"


def test_a_service_that_is_not_known_here_has_no_variable_and_two_share_one(catalogue: Catalogue) -> None:
    openai = catalogue["openai"]
    services = {"a": replace(openai, name="a"), "b": replace(openai, name="b")}
    urls = base_urls((Endpoint(1, "gone"), Endpoint(2, "a"), Endpoint(3, "b")), services, TOKEN)
    assert urls == {"OPENAI_BASE_URL": f"http://127.0.0.1:2/podkey-{TOKEN}/v1"}
