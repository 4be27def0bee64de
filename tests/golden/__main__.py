"""`python -m tests.golden [--check]`: writes below each case what `podkey inject` makes of it.

What Helm makes of the chart goes into `chart/`.

A case is a file in `injector/`. Its first document says what is given:

    about       what the case shows
    options     further options of `podkey inject`
    namespace   name and labels
    policies    AccessPolicies, CredentialSources
    objects     pods, or workloads with pod templates

and the second, which is written here, what comes out: a list of what `--output json` prints for each pod,
without the patch that leads there. `--check` writes nothing and fails where something else comes out.
"""

import sys
from pathlib import Path

from tests.golden.cases import CASES, case_text
from tests.golden.chart_cases import CASES as CHART_CASES
from tests.golden.chart_cases import chart_text, path_of
from tests.helm_chart import MISSING


def wanted() -> dict[Path, str]:
    found = {path: case_text(path) for path in CASES}
    if MISSING:
        print(f"the chart was not rendered: {MISSING}", file=sys.stderr)  # noqa: T201
        return found
    return found | {path_of(case): chart_text(case) for case in CHART_CASES}


if __name__ == "__main__":
    stale = {path: text for path, text in wanted().items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        if "--check" in sys.argv:
            print(f"{path.name} is stale: run `make golden`")  # noqa: T201
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            print(f"wrote {path.name}")  # noqa: T201
    sys.exit(bool(stale) and "--check" in sys.argv)
