"""Run while an image is built, by the Python that will run in it: compiles, writes the program and the SBOM.

`assemble.py PROGRAM MODULE`: /opt/podkey/PROGRAM calls `MODULE.run`. Standard library only: no more is there.
"""

import compileall
import json
import platform
import py_compile
import sys
from collections.abc import Iterator
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

HOME: Final = Path("/opt/podkey")
APP: Final = HOME / "app"
PACKAGES: Final = HOME / "packages"
# Of the image that this goes into, which may be of another architecture.
DPKG: Final = HOME / "dpkg-status"

# -I: neither the environment nor the working directory adds modules. -S: nor does the base's site-packages.
# -OO: no assert, as the tests of security run, and no docstring: those are a megabyte of memory in each pod.
# One argument, for the kernel passes only one.
PROGRAM: Final = """\
#!{python} -ISOO
import sys

sys.path[:0] = ["{app}", "{packages}"]
from {module} import run

run()
"""


def main(program: str, module: str) -> None:
    # Not checked against the sources at start: they stand below the same read-only root (see the Dockerfile).
    compiled = compileall.compile_dir(
        HOME, quiet=1, optimize=2, workers=0, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    if not compiled:
        sys.exit("assemble: a module could not be compiled")
    launcher = HOME / program
    launcher.write_text(PROGRAM.format(python=sys.executable, app=APP, packages=PACKAGES, module=module))
    launcher.chmod(0o755)
    version = _version(module)
    (HOME / "sbom.cdx.json").write_text(json.dumps(_sbom(program, version), indent=1) + "\n")


def _version(module: str) -> str:
    sys.path[:0] = [str(APP), str(PACKAGES)]
    version: str = __import__("proxy").__version__
    __import__(module)  # a module that is missing from the image shows here, and not in a cluster
    return version


def _sbom(program: str, version: str) -> dict[str, Any]:
    """CycloneDX 1.6. No serial number and no time: the same contents make the same file."""
    found = [*_python(), *_distributions(), *_debian()]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": program,
                "name": program,
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": sorted(found, key=lambda component: component["bom-ref"]),
    }


def _python() -> Iterator[dict[str, Any]]:
    """A Python that is no Debian package, as in the images of python.org's maintainers."""
    if Path(sys.executable).resolve().is_relative_to("/usr/local"):
        version = platform.python_version()
        yield _component("python", version, f"pkg:generic/python@{version}", "PSF-2.0")


def _distributions() -> Iterator[dict[str, Any]]:
    for one in distributions(path=[str(PACKAGES)]):
        name = one.metadata["Name"]
        canonical = name.lower().replace("_", "-").replace(".", "-")
        yield _component(name, one.version, f"pkg:pypi/{canonical}@{quote(one.version)}", _licence(one))


def _licence(one: Distribution) -> str:
    metadata = one.metadata
    classified = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier", [])
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    # Some put the whole text into the old field.
    old = metadata.get("License", "")
    return metadata.get("License-Expression") or (old if "\n" not in old else "") or " AND ".join(classified)


def _debian() -> Iterator[dict[str, Any]]:
    if not DPKG.exists():
        return
    for paragraph in DPKG.read_text(encoding="utf-8").split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if fields.get("Status", "").endswith(" installed"):
            name, version, arch = fields["Package"], fields["Version"], fields["Architecture"]
            # The licences of Debian's packages are texts: /usr/share/doc/NAME/copyright in the image.
            yield _component(name, version, f"pkg:deb/debian/{name}@{quote(version)}?arch={arch}", "")


def _component(name: str, version: str, purl: str, licence: str) -> dict[str, Any]:
    licences = {"licenses": [{"license": {"name": licence}}]} if licence else {}
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        **licences,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
