import pytest

from proxy.core.services import Catalogue
from proxy.documents.links import check_links
from proxy.documents.problems import Problem, ProblemCode
from proxy.documents.reading import MAX_PROBLEMS
from proxy.documents.salvage import Broken
from tests.document_strategies import FILE, KEYS, codes, joined, policy, read, service_entry, source


def problems_of(catalogue: Catalogue, *texts: str) -> list[Problem]:
    return list(read(catalogue, *texts).problems)


S3 = "service: s3, buckets: [b], credential: aws"
HUB = "service: huggingface, credential: plain"


@pytest.mark.parametrize(
    "grant",
    [
        "{hosts: [api.example.com], credential: one}",
        "{service: openai, credential: plain}",
        "{service: openai, credential: one}",
        f"{{{S3}, access: [read]}}",
        f"{{{S3}, access: [list], prefixes: [train/]}}",
        f"{{{S3}, access: [list], methods: [GET]}}",
        f'{{{S3}, actions: ["s3:GetObjectAcl"]}}',
        f'{{{S3}, access: [write], expectedBucketOwner: "111122223333"}}',
        f"{{{HUB}, pins: {{org: [acme], repo: [acme/*]}}, allowMinting: [xet-read-token]}}",
        # A wildcard may cover blob hosts: they are refused when they are asked for.
        '{hosts: ["*.hf.co"], credential: one}',
        # These services have no pin that must be named.
        '{hosts: [api.openai.com, "*.wandb.ai"], credential: one}',
        '{service: s3, buckets: ["b*"], access: [read], expectedBucketOwner: "111122223333", credential: a}',
    ],
)
def test_a_grant_whose_names_exist_and_fit_has_no_problems(catalogue: Catalogue, grant: str) -> None:
    signs = source("a", keys=KEYS, attach="")
    assert problems_of(catalogue, policy(grant), signs) == []


@pytest.mark.parametrize(
    ("grant", "code", "path", "message", "fix"),
    [
        (
            "{service: opnai, credential: plain}",
            "unknown_service",
            ".service",
            "there is no service `opnai` in the catalogue",
            "did you mean `openai`?",
        ),
        # Pins
        (
            f"{{{HUB}, pins: {{team: [a]}}}}",
            "unknown_pin",
            ".pins.team",
            "the service `huggingface` has no pin `team`",
            "use one of: org, repo",
        ),
        (
            f"{{{HUB}, buckets: [b]}}",
            "unknown_pin",
            ".buckets",
            "the service `huggingface` has no pin `bucket`",
            "use one of: org, repo",
        ),
        (
            f"{{{HUB}, prefixes: [a/]}}",
            "unknown_pin",
            ".prefixes",
            "`prefixes` means nothing to the service `huggingface`",
            "remove it",
        ),
        (
            f'{{{HUB}, expectedBucketOwner: "111122223333"}}',
            "unknown_pin",
            ".expectedBucketOwner",
            "`expectedBucketOwner` means nothing",
            "remove it",
        ),
        (
            "{service: s3, access: [read], credential: aws}",
            "missing_key",
            "",
            "`buckets` is missing: the host alone does not say whose data it is",
            "add `buckets: [...]`",
        ),
        (
            "{service: s3, buckets: [a, 'b*'], access: [read], credential: aws}",
            "missing_key",
            ".buckets",
            "`b*` also covers buckets that strangers create under such a name",
            'add `expectedBucketOwner: "<account id>"`, or name the buckets',
        ),
        # Operations
        (
            "{service: openai, access: [read], credential: plain}",
            "unknown_action",
            ".access",
            "the catalogue lists no operations of `openai`",
            "narrow with `methods` and `paths`",
        ),
        (
            "{service: openai, actions: [Chat], credential: plain}",
            "unknown_action",
            ".actions",
            "the catalogue lists no operations of `openai`",
            "narrow with `methods` and `paths`",
        ),
        (
            f'{{{S3}, actions: ["s3:GetObjekt"]}}',
            "unknown_action",
            ".actions",
            "`s3:GetObjekt` is no operation of the service `s3`",
            "did you mean `s3:GetObject`?",
        ),
        (
            f"{{{S3}}}",
            "missing_key",
            "",
            "neither `access` nor `actions` says what may be done",
            "add `access: [read]`",
        ),
        (
            f"{{{S3}, access: [read], methods: [PUT]}}",
            "never_matches",
            ".methods",
            "no operation that it names uses these methods",
            "remove `methods`",
        ),
        (
            f'{{{S3}, actions: ["s3:GetBucketPolicy"], prefixes: [a/]}}',
            "never_matches",
            ".prefixes",
            "no operation that it names shows a key",
            "remove `prefixes`",
        ),
        # Minting
        (
            f"{{{HUB}, allowMinting: [xet-token]}}",
            "unknown_minting_api",
            ".allowMinting",
            "`xet-token` is no credential-minting API of `huggingface`",
            "did you mean `xet-",
        ),
        # Blob hosts
        (
            "{hosts: [api.example.com, cas-bridge.xethub.hf.co], credential: one}",
            "host_blob",
            ".hosts[1]",
            "`cas-bridge.xethub.hf.co` serves signed URLs for Hugging Face Hub and never gets a credential",
            "remove it; grant `service: huggingface` for the API",
        ),
        # Hosts that do not say whose data it is
        (
            "{hosts: [api.example.com, b.s3.eu-central-1.amazonaws.com], credential: one}",
            "host_needs_service",
            ".hosts[1]",
            "`b.s3.eu-central-1.amazonaws.com` covers hosts of Amazon S3, where any tenant can be named",
            "write `service: s3` and name the tenants",
        ),
        (
            '{hosts: ["*.amazonaws.com"], credential: one}',
            "host_needs_service",
            ".hosts[0]",
            "`*.amazonaws.com` covers hosts of Amazon S3",
            "write `service: s3` and name the tenants",
        ),
        # The credential
        (
            "{hosts: [api.example.com], credential: plain}",
            "attach_mismatch",
            ".credential",
            "`plain` does not say how it is attached",
            "only a `service` has a default",
        ),
        (
            "{service: wandb, credential: one}",
            "attach_mismatch",
            ".credential",
            "Weights & Biases takes basic, and `one` attaches bearer",
            "remove `attach` from `one`",
        ),
        (
            "{service: anthropic, credential: query}",
            "attach_mismatch",
            ".credential",
            "Anthropic API takes header or bearer, and `query` attaches query",
            "the catalogue knows how",
        ),
        (
            "{service: s3, buckets: [b], access: [read], credential: plain}",
            "attach_mismatch",
            ".credential",
            "`plain`: `sigv4` needs accessKeyId, secretAccessKey, and the secret's keys give token",
            "name exactly these in `keys`: accessKeyId, secretAccessKey",
        ),
    ],
)
def test_tells_what_a_grant_names_in_vain(
    catalogue: Catalogue, grant: str, *, code: str, path: str, message: str, fix: str
) -> None:
    query = source("query", attach="{query: {name: key}}")
    (problem,) = problems_of(catalogue, policy("{hosts: [b.example.com], credential: two}", grant), query)
    assert (problem.file, problem.line, problem.path) == (FILE, 8, f"spec.grants[1]{path}")
    assert problem.code.value == code
    assert message in problem.message
    assert fix in problem.fix


def test_a_pin_that_must_be_named_is_told_by_its_own_name(catalogue: Catalogue) -> None:
    entry = service_entry("  pins: [{name: team, summary: T., header: X-Team, required: true}]\n")
    (problem,) = problems_of(catalogue, policy("{service: acme, credential: one}"), entry)
    assert (problem.code, problem.path) == (ProblemCode.MISSING_KEY, "spec.grants[0]")
    assert problem.message.startswith("`pins.team` is missing")


def test_every_unknown_name_of_a_grant_is_told(catalogue: Catalogue) -> None:
    grant = f"{{{S3}, actions: [a1, a2], allowMinting: [m1, m2], pins: {{p1: [x], p2: [x]}}}}"
    assert codes(problems_of(catalogue, policy(grant))) == [
        "unknown_pin",
        "unknown_pin",
        "unknown_action",
        "unknown_action",
        "unknown_minting_api",
        "unknown_minting_api",
    ]


# --- a source that is missing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credential", "fix"),
    [
        ("onee", "did you mean `one`?"),
        ("elsewhere", "there is one in `other`; a policy can only use those of its own namespace"),
        ("zzzzzz", "use one of: aws, aws-two, one, plain, two"),
    ],
)
def test_a_missing_source_is_told_with_what_may_be_meant(
    catalogue: Catalogue, credential: str, fix: str
) -> None:
    text = policy(f"{{hosts: [api.example.com], credential: {credential}}}")
    sources = [source("elsewhere", namespace=n) for n in ("other", "zoo")]
    (problem,) = problems_of(catalogue, text, *sources)
    assert (problem.code, problem.path) == (ProblemCode.UNKNOWN_CREDENTIAL, "spec.grants[0].credential")
    assert problem.message == f"there is no CredentialSource `{credential}` in namespace `ml`"
    assert problem.fix == fix


def test_where_there_is_no_source_at_all_one_is_to_be_added(catalogue: Catalogue) -> None:
    text = policy("{hosts: [api.example.com], credential: one}", namespace="empty").replace("one", "sole")
    (problem,) = problems_of(catalogue, text)
    assert problem.fix == "add a CredentialSource named `sole`"


def test_a_source_that_is_broken_is_not_missing(catalogue: Catalogue) -> None:
    text = policy(
        "{hosts: [api.example.com], credential: sick}", "{hosts: [b.example.com], credential: gone}"
    )
    found = problems_of(catalogue, text, source("sick", attach="{bearer: x}"))
    assert [(problem.code.value, problem.path) for problem in found] == [
        ("unknown_credential", "spec.grants[1].credential"),
        ("wrong_type", "spec.attach.bearer"),
    ]


@pytest.mark.parametrize("lost", ["kind: CredentialSorce\n", "[x]\n", "a: [\n"])
def test_where_a_document_is_lost_no_source_is_called_missing(catalogue: Catalogue, lost: str) -> None:
    text = policy("{hosts: [api.example.com], credential: gone}", "{service: gone, credential: one}")
    assert len(problems_of(catalogue, text)) == 2
    (problem,) = problems_of(catalogue, text, lost)
    assert problem.code in {ProblemCode.MISSING_KEY, ProblemCode.WRONG_TYPE, ProblemCode.YAML_SYNTAX}


def test_a_service_that_is_broken_is_not_missing(catalogue: Catalogue) -> None:
    entry = service_entry("  dialect: x\n", name="sick")
    text = policy("{service: sick, credential: plain}", "{service: gone, credential: plain}")
    found = problems_of(catalogue, text, entry)
    assert [(problem.code.value, problem.path) for problem in found] == [
        ("unknown_service", "spec.grants[1].service"),
        ("bad_value", "spec.dialect"),
    ]


def test_the_sound_grants_of_a_broken_policy_are_checked(catalogue: Catalogue) -> None:
    text = policy("{hosts: []}", "{service: opnai, credential: gone}")
    assert [(problem.code.value, problem.path) for problem in problems_of(catalogue, text)] == [
        ("empty_list", "spec.grants[0].hosts"),
        ("missing_key", "spec.grants[0]"),
        ("unknown_service", "spec.grants[1].service"),
        ("unknown_credential", "spec.grants[1].credential"),
    ]


def test_a_service_of_the_users_own_can_be_granted(catalogue: Catalogue) -> None:
    text = joined(policy("{service: acme, credential: plain}"), service_entry())
    assert problems_of(catalogue, text) == []


def test_checks_nothing_where_there_is_nothing(catalogue: Catalogue) -> None:
    assert check_links([], [], catalogue, Broken()) == []


def test_a_source_of_several_parts_fits_a_service_that_signs(catalogue: Catalogue) -> None:
    signs = source("signs", keys=KEYS, attach="{sigv4: {}}")
    assert problems_of(catalogue, policy(f"{{{S3.replace('aws', 'signs')}, access: [read]}}"), signs) == []


def test_no_more_problems_are_told_than_anybody_mends(catalogue: Catalogue) -> None:
    many = [f"{{service: gone, ports: [{n + 1}], credential: one}}" for n in range(MAX_PROBLEMS + 5)]
    assert codes(problems_of(catalogue, policy(*many))) == ["unknown_service"] * MAX_PROBLEMS


# --- what a signature is for -------------------------------------------------------------------------

SIGNS = source("signs", keys=KEYS, attach="{sigv4: {}}")
PULLS = source("pulls", keys=KEYS, attach="{ecrToken: {}}")
REGISTRY = "111122223333.dkr.ecr.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    ("hosts", "credential"),
    [
        ("[bedrock-runtime.eu-central-1.amazonaws.com, iam.amazonaws.com]", "signs"),
        ("['*.execute-api.eu-central-1.amazonaws.com']", "signs"),
        (f"[{REGISTRY}]", "signs"),
        (f"[{REGISTRY}, '*.dkr.ecr.eu-central-1.amazonaws.com']", "pulls"),
    ],
)
def test_the_names_of_amazons_hosts_say_what_a_signature_is_for(
    catalogue: Catalogue, hosts: str, credential: str
) -> None:
    text = policy(f"{{hosts: {hosts}, credential: {credential}}}")
    problems = read(catalogue, text, signs=SIGNS, pulls=PULLS).problems
    assert [p for p in problems if p.code is ProblemCode.ATTACH_MISMATCH] == []


@pytest.mark.parametrize(
    ("hosts", "credential", "message", "fix"),
    [
        (
            "[bedrock-runtime.eu-central-1.amazonaws.com, store.example.com]",
            "signs",
            "`store.example.com` does not say for which AWS service and region `signs` signs",
            "write `service: s3` with `endpoint`",
        ),
        (
            "[api.example.com, '*.store.example.com']",
            "signs",
            "`*.store.example.com` does not say",
            "name Amazon's own hosts",
        ),
        (
            f"[{REGISTRY}, store.example.com]",
            "pulls",
            "`store.example.com` is no registry of Amazon's, for which `pulls` gets a token",
            "name hosts such as `111122223333.dkr.ecr.",
        ),
        (
            f"[{REGISTRY}, bedrock-runtime.eu-central-1.amazonaws.com]",
            "pulls",
            "`bedrock-runtime.eu-central-1.amazonaws.com` is no registry of Amazon's",
            "name hosts such as",
        ),
    ],
)
def test_other_hosts_do_not_say_what_to_sign_for(
    catalogue: Catalogue, hosts: str, credential: str, message: str, fix: str
) -> None:
    text = policy(f"{{hosts: {hosts}, credential: {credential}}}")
    *_, problem = read(catalogue, text, signs=SIGNS, pulls=PULLS).problems
    assert (problem.code.value, problem.path) == ("attach_mismatch", "spec.grants[0].hosts[1]")
    assert message in problem.message
    assert fix in problem.fix


def test_an_entry_that_is_signed_for_has_amazons_hosts(catalogue: Catalogue) -> None:
    entry = service_entry().replace("[{bearer: {}}]", "[{sigv4: {}}]")
    grant = policy("{service: acme, credential: aws}")
    (problem,) = problems_of(catalogue, joined(grant, entry))
    assert (problem.code.value, problem.path) == ("attach_mismatch", "spec.grants[0].service")
    assert "the hosts of `acme` do not say for which AWS service and region to sign" in problem.message
    ours = entry.replace("[api.acme.example]", "[acme.eu-central-1.amazonaws.com, api.acme.example]")
    assert problems_of(catalogue, joined(grant, ours)) == []


def test_a_store_says_what_is_signed_for(catalogue: Catalogue) -> None:
    grant = "{service: s3, endpoint: store.example.com, buckets: [b], access: [read], credential: signs}"
    assert problems_of(catalogue, policy(grant), SIGNS) == []
