"""Helm 4, for tests: reads a list of actions, each with what it needs, as JSON, and answers with a list.

Runs in the environment of .ci/chart-tools, which has nothing of ours.
"""

import json
import sys
from typing import Any

import helm_python as helm  # type: ignore[import-not-found] # in its own environment


def render(told: dict[str, Any]) -> Any:
    with helm.Chart.load(told["chart"]) as chart:
        return chart.render(
            told["values"],
            name=told["name"],
            namespace=told["namespace"],
            is_install=not told.get("upgrade"),
            is_upgrade=bool(told.get("upgrade")),
        )


def check(told: dict[str, Any]) -> Any:
    """The schema alone."""
    with helm.Chart.load(told["chart"]) as chart:
        chart.validate_schema(told["values"])


def lint(told: dict[str, Any]) -> Any:
    return helm.lint(
        told["chart"], told["values"], strict=True, namespace=told["namespace"], kube_version="v1.34.0"
    )


def change(told: dict[str, Any]) -> Any:
    """install, upgrade or uninstall in a cluster."""
    with helm.Config(kubeconfig_path=told["kubeconfig"], namespace=told["namespace"]) as cluster:
        if told["how"] == "uninstall":
            return cluster.uninstall(told["name"], wait="hookOnly")
        how = {"install": cluster.install, "upgrade": cluster.upgrade}[told["how"]]
        more = {"create_namespace": True} if told["how"] == "install" else {}
        return how(told["chart"], told["name"], told["values"], wait="hookOnly", **more)


def answer(action: str, told: dict[str, Any]) -> dict[str, Any]:
    actions = {"render": render, "check": check, "lint": lint, "change": change}
    try:
        return {"done": actions[action](told)}
    except helm.HelmError as error:
        return {"error": str(error)}


if __name__ == "__main__":
    print(json.dumps([answer(*asked) for asked in json.load(sys.stdin)]))  # noqa: T201 - that is its answer
