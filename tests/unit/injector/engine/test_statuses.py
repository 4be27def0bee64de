from injector.engine.conditions import Status
from injector.engine.holdings import Report, Standing, hold
from injector.engine.statuses import desired_status
from proxy.documents.problems import Problem, ProblemCode
from tests.cluster_policies import OWN, broken, policy, source, wide

SOUND = hold(policy(generation=3), OWN)
UNSOUND = hold(broken(policy(), generation=3), OWN)
FAULT = Problem("AccessPolicy ml/p", 0, "spec", "it is odd", "mend it", ProblemCode.BAD_VALUE)
LARGE = Problem("AccessPolicy ml/p", 0, "", "it is large", "use less", ProblemCode.TOO_LARGE)

CURRENT = Report(Standing.CURRENT, 3)
OLDER = Report(Standing.OLDER, 2, (FAULT,))
OUT = Report(Standing.LEFT_OUT, 0, (FAULT,))


def words(status: Status) -> list[tuple[str, str, str]]:
    return [(c.type, c.status, c.reason) for c in status.conditions]


def message(status: Status) -> str:
    return status.conditions[1].message


def test_a_document_in_force_says_where() -> None:
    status = desired_status(SOUND, {"ml": CURRENT}, matched_pods=4)
    assert words(status) == [("Accepted", "True", "Sound"), ("Compiled", "True", "InForce")]
    assert message(status) == "sidecars in `ml` have generation 3"
    assert (status.observed_generation, status.matched_pods, status.problems) == (3, 4, ())


def test_an_edit_that_does_not_read_says_what_stays() -> None:
    status = desired_status(UNSOUND, {"ml": Report(Standing.OLDER, 2, UNSOUND.problems)})
    assert words(status) == [("Accepted", "False", "Unsound"), ("Compiled", "False", "OlderVersionInForce")]
    assert message(status).startswith("generation 2 stays in force: ")
    assert len(status.problems) == len(UNSOUND.problems)
    assert "and 2 more" in status.conditions[0].message


def test_a_document_that_cannot_be_in_force_says_why() -> None:
    status = desired_status(SOUND, {"ml": OUT})
    assert words(status)[1] == ("Compiled", "False", "LeftOut")
    assert message(status) == "not in force in `ml`: spec: it is odd; mend it"
    assert [problem.path for problem in status.problems] == ["spec"]


def test_an_unreadable_document_that_is_nowhere_is_left_out() -> None:
    status = desired_status(UNSOUND, {})
    assert words(status) == [("Accepted", "False", "Unsound"), ("Compiled", "False", "LeftOut")]


def test_too_much_text_has_a_reason_of_its_own() -> None:
    status = desired_status(SOUND, {"ml": Report(Standing.LEFT_OUT, 0, (LARGE,))})
    assert words(status)[1] == ("Compiled", "False", "TooLarge")
    assert message(status) == "not in force in `ml`: it is large; use less"


def test_a_namespace_without_sidecars_and_one_that_waits_are_told_apart() -> None:
    assert words(desired_status(SOUND, {}))[1] == ("Compiled", "False", "NoNamespace")
    assert words(desired_status(SOUND, {}, pending=True))[1] == ("Compiled", "Unknown", "Pending")
    assert words(desired_status(hold(source(), OWN), {}))[1] == ("Compiled", "False", "NoNamespace")


def test_a_cluster_wide_document_tells_of_all_its_namespaces() -> None:
    held = hold(wide(), OWN)
    everywhere = {f"team-{number}": Report(Standing.CURRENT, 1) for number in range(7)}
    status = desired_status(held, everywhere)
    assert words(status)[1] == ("Compiled", "True", "InForce")
    assert "`team-4` and 2 more have" in message(status)
    partly = desired_status(held, {**everywhere, "ml": OUT, "nlp": OUT})
    assert words(partly)[1] == ("Compiled", "False", "PartlyInForce")
    assert message(partly).startswith("not in force in `ml`, `nlp`: ")
    assert len(partly.problems) == 1


def test_several_older_generations_are_named() -> None:
    reports = {"ml": OLDER, "nlp": Report(Standing.OLDER, 1, (FAULT,))}
    assert message(desired_status(SOUND, reports)).startswith("generation 1 and 2 stays in force")


def test_a_mixture_of_older_and_none_is_not_in_force() -> None:
    assert words(desired_status(SOUND, {"ml": OLDER, "nlp": OUT}))[1] == ("Compiled", "False", "LeftOut")


def test_a_report_without_a_reason_is_no_crash() -> None:
    status = desired_status(SOUND, {"ml": Report(Standing.LEFT_OUT)})
    assert message(status) == "not in force in `ml`: the reason is not known any more"
