"""The laws of the house as functions over a source tree: each returns what breaks it, in words.

They read the code with `ast` and import nothing of it, so they judge a scratch copy as well as ourselves.
An import inside a function counts like any other, and so does `importlib.import_module("name")`.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

# --- the map -------------------------------------------------------------------------------------

# Low to high. A module may import rooms on lower floors and its own room; rooms of one floor do not see
# each other. Rooms that are not built yet stand here already, so that they are built in their place.
FLOORS: Final[Mapping[str, Sequence[Sequence[str]]]] = {
    "proxy": (
        ("proxy.core",),
        ("proxy.aws", "proxy.tokens"),
        ("proxy.documents", "proxy.wire"),
        ("proxy.services", "proxy.x509", "proxy.files", "proxy.telemetry"),
        ("proxy.attach", "proxy.sources"),
        ("proxy.judge",),
        ("proxy.transaction", "proxy.leasing"),
        ("proxy.lanes",),
        ("proxy.edge",),
        ("proxy.cli",),
        ("proxy.__main__",),
    ),
    "injector": (
        ("injector.core",),
        ("injector.reading",),
        ("injector.craft",),
        ("injector.engine",),
        ("injector.edge",),
        ("injector.cli",),
        ("injector.__main__",),
    ),
}
# What one program may import of the other.
CROSSING: Final[Mapping[str, frozenset[str]]] = {
    "proxy": frozenset(),
    "injector": frozenset(
        {
            "proxy.core",
            "proxy.documents",
            "proxy.services",
            "proxy.x509",
            "proxy.files",
            "proxy.telemetry",
            # Both hold keys in memory.
            "proxy.edge.hardening",
            # `podkey inject` speaks to people as the other commands do.
            "proxy.cli.exit_status",
            "proxy.cli.terminal",
        }
    ),
}
MITMPROXY_LANE: Final = frozenset({"proxy.lanes.mitm"})
# Third-party package -> the modules, or the one room, that may import it. Nobody may import one that is not
# listed; an empty set is a package that is expected and has no doorman yet.
DOORMEN: Final[Mapping[str, frozenset[str]]] = {
    "yaml": frozenset({"proxy.documents.yaml_nodes"}),
    "idna": frozenset({"proxy.documents.host_names"}),
    "publicsuffixlist": frozenset({"proxy.documents.host_names"}),
    "certifi": frozenset({"proxy.edge.trust_files"}),
    "cryptography": frozenset({"proxy.aws.sigv4a", "proxy.x509.certificates", "proxy.tokens.jose"}),
    "httpcore": frozenset({"proxy.edge.outgoing"}),
    "kubernetes": frozenset({"injector.edge.cluster"}),
    # One room, and what mitmproxy itself stands on: its layers speak in their types.
    "mitmproxy": MITMPROXY_LANE,
    "msgspec": frozenset({"proxy.core.structs"}),
    "OpenSSL": MITMPROXY_LANE,
    "h2": MITMPROXY_LANE,
    "h11": MITMPROXY_LANE,
    "hpack": MITMPROXY_LANE,
    "prometheus_client": frozenset({"proxy.telemetry.exposition"}),
    "structlog": frozenset({"proxy.telemetry.logs"}),
    "uvloop": frozenset({"proxy.edge.assembly"}),
}
STANDARD_LIBRARY_ONLY: Final = ("proxy.core", "injector.core")
# But for what the values of every room are made of, as they are of `dataclasses` elsewhere (docs/adr/0021).
EVERYBODYS: Final = frozenset({"msgspec"})

# The rooms that perform: F4 and F5. Everything below decides, and gets the world as arguments.
PERFORMERS: Final = (
    "proxy.files",
    "proxy.telemetry",
    "proxy.lanes",
    "proxy.edge",
    "proxy.cli",
    "proxy.__main__",
    "injector.edge",
    "injector.cli",
    "injector.__main__",
)
PRINTERS: Final = ("proxy.cli", "injector.cli")
# The files below F4 that read something: what a package itself carries, which is like an import.
READERS_OF_PACKAGE_DATA: Final = ("proxy.services.loader", "proxy.documents.host_names")
# ruff: noqa: SIM905 - lists of names, which read better as paragraphs
IO_BUILTINS: Final = frozenset({"open", "input", "breakpoint"})
IO_MODULES: Final = frozenset(
    "asyncio fcntl glob http.client io logging multiprocessing os random secrets select selectors shutil "
    "signal socket ssl subprocess tempfile threading urllib.request".split()
)
IO_NAMES: Final = frozenset(
    "datetime.date.today datetime.datetime.now datetime.datetime.today datetime.datetime.utcnow "
    "importlib.resources pathlib.Path pkgutil.get_data sys.argv sys.stderr sys.stdin sys.stdout "
    "time.monotonic time.monotonic_ns time.perf_counter time.perf_counter_ns time.process_time time.sleep "
    "time.time time.time_ns uuid.uuid1 uuid.uuid4".split()
)

# mitmproxy fills it from the Host header, which the application chooses.
FORBIDDEN_NAMES: Final = frozenset({"pretty_host", "pretty_url"})
MAX_LINES: Final = 400
# Names that say nothing, and so attract everything.
EMPTY_NAMES: Final = frozenset("base common helper helpers manager misc types util utils".split())

UNIT_TESTS: Final = Path("tests", "unit")
# A module's fuzz and property tests may stand in files of their own.
TEST_ASPECTS: Final = ("_fuzz", "_properties")


# --- reading a tree ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    path: Path  # below the root
    tree: ast.Module
    lines: int

    @property
    def program(self) -> str:
        return self.name.partition(".")[0]

    def at(self, line: int) -> str:
        return f"{self.path.as_posix()}:{line}: {self.name}"


@dataclass(frozen=True, slots=True)
class Import:
    """`target` is a module of ours, or a dotted name as far as the statement tells it."""

    importer: Module
    target: str
    line: int


_parsed = cache(ast.parse)  # scratch trees hold the same files again and again


def modules_below(root: Path) -> dict[str, Module]:
    """Every module of the two programs, by name."""
    found = {}
    for program in FLOORS:
        for file in sorted((root / program).rglob("*.py")):
            path = file.relative_to(root)
            parts = path.with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = file.read_text()
            found[name] = Module(name, path, _parsed(text), text.count("\n"))
    return found


def imports_of(module: Module, known: Mapping[str, Module]) -> Iterator[Import]:
    """All imports, wherever they stand. A dynamic import that cannot be read has the target `?`."""
    for node in _importing(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            source = _source(module, node)
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                ours = source.partition(".")[0] in FLOORS
                yield Import(module, source if ours and whole not in known else whole, node.lineno)
        elif isinstance(node, ast.Call):
            for target in _dynamic_targets(node, module, known):
                yield Import(module, target, node.lineno)


@cache  # scratch trees share what they do not change
def _importing(tree: ast.Module) -> tuple[ast.AST, ...]:
    return tuple(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"})
    )


def _source(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".")
    up = node.level - (module.path.name == "__init__.py")
    parts = [*package[: len(package) - up], *filter(None, [node.module])]
    return ".".join(parts)


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]


def _dynamic_targets(node: ast.Call, module: Module, known: Mapping[str, Module]) -> list[str]:
    """`import_module(f"proxy.cli.{name}")` may import anything in `proxy.cli`."""
    match node.args:
        case [ast.Constant(value=str(name)), *_]:
            return [name]
        case [ast.JoinedStr(values=[ast.Constant(value=str(prefix)), *_]), *_] if prefix.endswith("."):
            return [name for name in known if name.startswith(prefix) and name != module.name]
        case _:
            return ["?"]


def _is_in(name: str, rooms: Sequence[str] | frozenset[str]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def _all_imports(root: Path) -> Iterator[Import]:
    known = modules_below(root)
    for module in known.values():
        yield from imports_of(module, known)


# --- floors and crossing -------------------------------------------------------------------------


def _room(name: str) -> tuple[int, str] | None:
    """A module's floor and room. The programs' own `__init__` lie below all floors."""
    program = name.partition(".")[0]
    if name == program:
        return -1, name
    for floor, rooms in enumerate(FLOORS[program]):
        for room in rooms:
            if _is_in(name, [room]):
                return floor, room
    return None


def floor_violations(root: Path) -> list[str]:
    """Modules on no floor, and imports that do not go down."""
    known = modules_below(root)
    found = [
        f"{m.at(1)} stands on no floor: add its room to FLOORS" for m in known.values() if not _room(m.name)
    ]
    for module in known.values():
        here = _room(module.name)
        for imported in imports_of(module, known):
            there = _room(imported.target) if imported.target.partition(".")[0] == module.program else None
            if here and there and here[1] != there[1] and here[0] <= there[0]:
                found.append(
                    f"{module.at(imported.line)} imports {imported.target}: {there[1]} is not below {here[1]}"
                )
            if imported.target == "?":
                found.append(
                    f"{module.at(imported.line)} imports something that cannot be read from the code"
                )
    return found


def cycle_violations(root: Path) -> list[str]:
    """Each circle of imports between modules, once, from its first module by name."""
    known = modules_below(root)
    graph = {
        name: sorted({i.target for i in imports_of(module, known) if i.target in known} - {name})
        for name, module in known.items()
    }
    circles: dict[frozenset[str], list[str]] = {}
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> None:
        if name in trail:
            circle = trail[trail.index(name) :]
            first = circle.index(min(circle))
            circles.setdefault(frozenset(circle), [*circle[first:], *circle[:first]])
        elif name not in done:
            for target in graph[name]:
                walk(target, [*trail, name])
            done.add(name)

    for name in graph:
        walk(name, [])
    return [f"modules import each other: {' -> '.join([*c, c[0]])}" for c in circles.values()]


def crossing_violations(root: Path) -> list[str]:
    """Imports from one program into the other that are not agreed."""
    return [
        f"{i.importer.at(i.line)} imports {i.target}: {i.importer.program} may import "
        + (", ".join(sorted(allowed)) + f" of {there}" if allowed else f"nothing of {there}")
        for i in _all_imports(root)
        if (there := i.target.partition(".")[0]) in FLOORS and there != i.importer.program
        # The version, which both tell.
        if i.target != "proxy"
        if not _is_in(i.target, allowed := CROSSING[i.importer.program])
    ]


# --- doormen and I/O -----------------------------------------------------------------------------


def doorman_violations(root: Path) -> list[str]:
    """Third-party imports outside the package's doorman."""
    found = []
    for imported in _all_imports(root):
        package = imported.target.partition(".")[0]
        if package in FLOORS or package in sys.stdlib_module_names or package == "?":
            continue
        place = f"{imported.importer.at(imported.line)} imports {package}"
        doormen = DOORMEN.get(package)
        if doormen is None:
            found.append(f"{place}: it is not in DOORMEN")
        elif _is_in(imported.importer.name, STANDARD_LIBRARY_ONLY) and package not in EVERYBODYS:
            found.append(f"{place}: this room imports the standard library only")
        elif not _is_in(imported.importer.name, doormen):
            found.append(f"{place}: only {', '.join(sorted(doormen)) or 'nobody yet'} may")
    return found


def io_violations(root: Path) -> list[str]:
    """Files, sockets, clocks, chance and environment below F4, and prints outside the command line."""
    return [violation for module in modules_below(root).values() for violation in _io_of(module)]


@cache
def _io_of(module: Module) -> tuple[str, ...]:
    return tuple(_io_in(module))


def _io_in(module: Module) -> Iterator[str]:
    performs = _is_in(module.name, PERFORMERS)
    aliases = _aliases(module.tree)
    reads = _is_in(module.name, READERS_OF_PACKAGE_DATA)
    allowed = {"importlib.resources", "pkgutil.get_data"} if reads else set()
    for node in ast.walk(module.tree):
        names = _names(node, aliases)
        if "print" in names and not _is_in(module.name, PRINTERS):
            yield f"{module.at(node.lineno)} prints"  # type: ignore[attr-defined]
        for name in [] if performs else sorted(names - allowed):
            if name in IO_NAMES | IO_BUILTINS or _is_in(name, IO_MODULES):
                yield f"{module.at(node.lineno)} uses {name}: take it as an argument"  # type: ignore[attr-defined]


def _aliases(tree: ast.Module) -> dict[str, str]:
    """Local names of imported things -> what they are."""
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                aliases[alias.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return aliases


def _names(node: ast.AST, aliases: Mapping[str, str]) -> set[str]:
    """The dotted names that a node itself brings in or reaches for."""
    match node:
        case ast.Import(names=names):
            return {alias.name for alias in names}
        case ast.ImportFrom(module=str(source), names=names):
            whole = {f"{source}.{alias.name}" for alias in names}
            return {source} if source in IO_NAMES or _is_in(source, IO_MODULES) else whole
        case ast.Name(id=name, ctx=ast.Load()) if name not in aliases:
            return {name} & (IO_BUILTINS | {"print"})
        case ast.Attribute():
            root, *rest = ast.unparse(node).split(".")
            whole_name = ".".join([aliases.get(root, "?"), *rest])
            return {whole_name} & IO_NAMES
        case _:
            return set()


# --- the smaller laws ----------------------------------------------------------------------------


def forbidden_name_violations(root: Path) -> list[str]:
    """Names that must not be read anywhere, also not by `getattr`."""
    found = []
    for module in modules_below(root).values():
        for node in ast.walk(module.tree):
            match node:
                case ast.Attribute(attr=name) | ast.Name(id=name) | ast.Constant(value=str(name)):
                    if name in FORBIDDEN_NAMES:
                        found.append(f"{module.at(node.lineno)} reads {name}, which the application chooses")
    return found


def assert_violations(root: Path) -> list[str]:
    """`assert` statements: we run with `-O`, which drops them. `assert_never(…)` is a call, and stays."""
    return [
        f"{module.at(node.lineno)} asserts: -O drops it, so return or raise"
        for module in modules_below(root).values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Assert)
    ]


def size_violations(root: Path) -> list[str]:
    return [
        f"{module.path.as_posix()} has {module.lines} lines: split it by idea, {MAX_LINES} are the limit"
        for module in modules_below(root).values()
        if module.lines > MAX_LINES
    ]


def module_name_violations(root: Path) -> list[str]:
    return [
        f"{module.path.as_posix()}: `{part}` names no idea of the domain"
        for module in modules_below(root).values()
        for part in module.name.split(".")
        if part in EMPTY_NAMES
    ]


# --- tests and documentation ---------------------------------------------------------------------


def untested_violations(root: Path) -> list[str]:
    """Modules without a test file at the mirrored path."""
    return [
        f"{module.path.as_posix()} has no test: write {test.as_posix()}"
        for module in modules_below(root).values()
        if not (module.path.name == "__init__.py" and _has_no_code(module.tree))
        if not (root / (test := UNIT_TESTS / module.path.with_name(f"test_{module.path.name}"))).is_file()
    ]


def orphan_test_violations(root: Path) -> list[str]:
    """Test files without their module; a catalogue entry counts as one."""
    found = []
    for file in sorted((root / UNIT_TESTS).rglob("test_*.py")):
        subject = file.relative_to(root / UNIT_TESTS)
        stem = file.stem.removeprefix("test_")
        stems = {stem, *(stem.removesuffix(aspect) for aspect in TEST_ASPECTS)}
        if not any((root / subject.with_name(s + end)).is_file() for s in stems for end in (".py", ".yaml")):
            path = file.relative_to(root).as_posix()
            found.append(f"{path} tests {subject.with_name(stem + '.py').as_posix()}, which does not exist")
    return found


def _has_no_code(tree: ast.Module) -> bool:
    """A docstring, and perhaps a constant such as `__version__`."""
    return all(
        isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant)
        for node in tree.body
    )


def reason_violations(page: str, codes: Sequence[str]) -> list[str]:
    """Codes without a section in the reasons page, and sections without a code."""
    sections = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    missing = [f"`{code}` has no section in docs/reasons.md" for code in codes if code not in sections]
    return missing + [
        f"docs/reasons.md tells of `{code}`, which no verdict has" for code in sections if code not in codes
    ]
