"""`python -m tests.golden [--check]`: writes below each case what `podkey inject` makes of it.

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

from tests.golden.cases import CASES, case_text

if __name__ == "__main__":
    stale = [path for path in CASES if case_text(path) != path.read_text()]
    for path in stale:
        if "--check" in sys.argv:
            print(f"{path.name} is stale: run `make golden`")  # noqa: T201
        else:
            path.write_text(case_text(path))
            print(f"wrote {path.name}")  # noqa: T201
    sys.exit(bool(stale) and "--check" in sys.argv)
