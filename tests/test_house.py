"""The house: four folders under one name, who leans on whom, and a root that holds nothing else."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import house_plan
import pytest
from house_plan import CODE, LINKS, NOT_YET, ROOT

ALLOWED_IN_ROOT = {"setup.py", "README.md", "bridge", "actors", "http", "tests", "ops"}

# --- what lies where --------------------------------------------------------------------------------------------------


def test_the_root_holds_the_house_and_nothing_else() -> None:
    assert {path.name for path in ROOT.iterdir() if not path.name.startswith(".")} == ALLOWED_IN_ROOT


def test_nothing_else_is_tracked_in_the_root() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no git checkout")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tops = {name.split("/")[0] for name in tracked.split("\0") if name}
    assert {top for top in tops if not top.startswith(".")} <= ALLOWED_IN_ROOT


@pytest.mark.parametrize("name", LINKS)
def test_bridge_holds_a_link_to_each_other_folder(name: str) -> None:
    link = ROOT / "bridge" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"


def test_no_init_hides_the_standard_library_or_puts_the_root_on_the_path() -> None:
    assert not (ROOT / "http" / "__init__.py").exists()
    assert not list((ROOT / "tests").rglob("__init__.py"))
    assert not (ROOT / "conftest.py").exists()


def test_no_two_test_files_share_a_name() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


# --- who imports whom -------------------------------------------------------------------------------------------------

STANDARD = sys.stdlib_module_names
IMPURE = {"_thread", "asyncio", "concurrent", "http", "multiprocessing", "queue", "sched", "select", "selectors"} | {
    "signal", "socket", "socketserver", "ssl", "subprocess", "threading", "time"
}  # fmt: skip
PACKAGES = {
    "bridge": {"cronsim", "dotenv", "msgspec", "pydantic", "pydantic_core"},
    "actors": {
        "confluent_kafka",
        "fakeredis",
        "gevent",
        "jwt",
        "msgspec",
        "pykka",
        "redis",
        "requests",
        "urllib3",
    },
    "http": {"falcon", "gevent", "jwt", "msgspec"},
}
NEIGHBOURS = {"bridge": set[str](), "actors": {"bridge.actors"}, "http": {"bridge.http"}}


def imports(path: Path) -> Iterator[str]:
    """Every name that a module imports, wherever it does so, in full."""
    for node in ast.walk(house_plan.tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def house_of(name: str) -> str:
    """`bridge.actors` for anything below it, `bridge` for the rest of bridge."""
    parts = name.split(".")
    return f"bridge.{parts[1]}" if parts[0] == "bridge" and len(parts) > 1 and parts[1] in LINKS else "bridge"


def leans_wrongly(folder: str, name: str) -> bool:
    top = name.split(".")[0]
    if top == "bridge":
        return house_of(name) not in {"bridge"} | NEIGHBOURS[folder]
    impure = folder == "bridge" and top in IMPURE
    return impure or (top not in STANDARD and top not in PACKAGES[folder])


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_folder_imports_only_what_it_may(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in house_plan.files(folder)
        for name in imports(path)
        if leans_wrongly(folder, name)
    ]
    assert wrong == []


def test_the_rule_about_imports_sees_what_it_should() -> None:
    wrong = {
        "bridge": ("bridge.actors.base.X", "socket", "time.sleep", "gevent", "http.client", "bridge.ops"),
        "actors": ("bridge.http.app", "falcon", "bridge.ops.logs"),
        "http": ("bridge.actors.store", "requests", "redis.Redis"),
    }
    right = {
        "bridge": ("bridge.wire.HttpCall", "re"),
        "actors": ("bridge.actors.base.X", "time"),
        "http": ("http.HTTPStatus",),
    }
    assert all(leans_wrongly(folder, name) for folder, names in wrong.items() for name in names)
    assert not any(leans_wrongly(folder, name) for folder, names in right.items() for name in names)


@pytest.mark.parametrize("folder", [*CODE, "tests"])
def test_our_folders_are_imported_by_their_full_name(folder: str) -> None:
    own_http = {path.stem for path in (ROOT / "http").glob("*.py")} - {"client", "server", "cookies", "cookiejar"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in house_plan.files(folder)
        for name in imports(path)
        if name.startswith(".")
        or name.split(".")[0] in ("actors", "ops", "tests")
        or name in {f"http.{own}" for own in own_http}
    ]
    assert wrong == []


def reads_clock(node: ast.AST) -> bool:
    """Whether this is `datetime.now` or one of its kind."""
    if not isinstance(node, ast.Attribute) or node.attr not in ("now", "utcnow", "today"):
        return False
    return isinstance(node.value, ast.Name) and node.value.id in ("datetime", "date")


def test_the_rules_have_no_clock() -> None:
    files = house_plan.files("bridge")
    clocks = [path.name for path in files for node in ast.walk(house_plan.tree_of(path)) if reads_clock(node)]
    assert clocks == []


@pytest.mark.parametrize("folder", CODE)
def test_every_module_says_what_lives_there(folder: str) -> None:
    silent = [path for path in house_plan.files(folder) if ast.get_docstring(house_plan.tree_of(path)) is None]
    assert silent == []


# --- who imports whom inside the folders ------------------------------------------------------------------------------


def test_the_plan_is_in_order_so_that_no_import_runs_upward() -> None:
    above: set[str] = set()
    for part, allowed in house_plan.MAY_IMPORT.items():
        assert allowed <= above, f"{part} may import {allowed - above}, which comes later in the plan"
        above.add(part)


def test_every_module_has_its_part_in_the_plan() -> None:
    strays = [
        name
        for name in house_plan.modules()
        if house_plan.part_of(name) in house_plan.FLAT and name.count(".") > house_plan.part_of(name).count(".") + 1
    ]
    assert strays == [], "give its folder a row in house_plan.MAY_IMPORT"


def test_a_part_imports_only_the_parts_that_the_plan_allows() -> None:
    assert house_plan.forbidden_imports() - NOT_YET == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: house_plan.own_imports(path) - {name} for name, path in house_plan.modules().items()}
    circles = {" ".join(sorted(circle)) for circle in house_plan.circles(graph)}
    assert circles - NOT_YET == set()


def test_the_search_for_circles_finds_them() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set[str]()}
    assert house_plan.circles(graph) == [{"a", "b", "c"}]


# --- sizes and words --------------------------------------------------------------------------------------------------


def test_no_module_is_too_long() -> None:
    lengths = {name: house_plan.lines_of(path) for name, path in house_plan.modules().items()}
    too_long = {name: lines for name, lines in lengths.items() if lines > house_plan.LONGEST_MODULE}
    assert too_long.keys() - NOT_YET == set(), too_long


@pytest.mark.parametrize("folder", CODE)
def test_half_of_the_functions_are_short(folder: str) -> None:
    longest = sorted(house_plan.function_lengths(folder).items(), key=lambda found: -found[1])[:10]
    assert house_plan.median_length(folder) < house_plan.MEDIAN_FUNCTION, longest


def test_the_rules_of_a_chat_are_typed() -> None:
    untyped = [
        f"{path.name}:{node.lineno}"
        for path in house_plan.files("bridge/chat")
        for node in ast.walk(house_plan.tree_of(path))
        if isinstance(node, ast.Name) and node.id in ("Any", "getattr")
    ]
    assert untyped == []


@pytest.mark.parametrize("folder", [*CODE, "tests"])
def test_comments_and_docstrings_use_plain_words(folder: str) -> None:
    assert [found for path in house_plan.files(folder) for found in house_plan.banned_words(path)] == []


@pytest.mark.parametrize("folder", CODE)
def test_a_folder_says_in_its_first_line_what_lives_there(folder: str) -> None:
    inits = [path for path in house_plan.files(folder) if path.name == "__init__.py"]
    first_lines = {path: (ast.get_docstring(house_plan.tree_of(path)) or "").splitlines()[0] for path in inits}
    assert [path for path, line in first_lines.items() if not line.endswith((".", ":"))] == []


# --- every way of running ---------------------------------------------------------------------------------------------

PROBE = """
import http.client, http.server, importlib.util, pathlib, sys, sysconfig
import bridge.actors, bridge.http.app, bridge.ops.cli
standard = pathlib.Path(sysconfig.get_paths()["stdlib"]).resolve()
assert pathlib.Path(http.client.__file__).resolve().is_relative_to(standard), http.client.__file__
ours = pathlib.Path(bridge.http.app.__file__).resolve()
assert (ours.parent / "webhooks.py").exists(), ours
assert importlib.util.find_spec("http.app") is None
assert importlib.util.find_spec("bridge.http.client") is None
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the house, so that building in it changes nothing here; and a probe in three forms."""
    top = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT, top / "root", symlinks=True, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info"))
    (top / "probe").mkdir()
    (top / "probe" / "probe.py").write_text(f"{PROBE}\ndef application(environ, start_response): return []\n")
    body = PROBE.replace("\n", "\n    ")
    (top / "probe" / "test_probe.py").write_text(f"def test_probe():{body}\n")
    (top / "probe" / "conf.py").write_text(
        f"import sys\nsys.path.append({str(top / 'probe')!r})\nworker_class = 'gevent'\n"
    )
    (top / "probe" / "run_pytest.py").write_text("import pytest, sys\nsys.exit(pytest.console_main())\n")
    return top


def ways(probe: Path) -> dict[str, list[str]]:
    """Every way of running that puts something else on the path."""
    tests = ["-p", "no:cacheprovider", "-q", str(probe / "test_probe.py")]
    return {
        "python -c": ["-c", PROBE],
        "python -m pytest": ["-m", "pytest", *tests],
        "pytest": [str(probe / "run_pytest.py"), *tests],
        "gunicorn": ["-m", "gunicorn", "--check-config", "-c", str(probe / "conf.py"), "probe:application"],
    }


def run(python: Path, arguments: list[str], *, where: Path) -> None:
    clean = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(where)}
    ended = subprocess.run(
        [python, *arguments], cwd=where, env=clean, capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def make_venv(where: Path) -> Path:
    """An empty virtual environment that sees the packages of this one, but no installed `bridge`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", where], check=True, timeout=50)
    site = next(where.glob("lib/python*/site-packages"))
    # A line in a .pth adds a folder, but does not read the .pth files in it: an editable bridge there stays unseen.
    (site / "borrowed.pth").write_text(
        sysconfig.get_paths()["purelib"] + "\n" + sysconfig.get_paths()["platlib"] + "\n"
    )
    return where / "bin" / "python"


def pip(python: Path, *arguments: str, where: Path) -> None:
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--use-pep517", "-q"]
    command = [sys.executable, "-m", "pip", "--python", str(python), *arguments[:1], *offline, *arguments[1:]]
    ended = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    pip(Path(sys.executable), "wheel", "-w", str(checkout / "wheels"), ".", where=checkout / "root")
    return next((checkout / "wheels").glob("bridge-*.whl"))


@pytest.fixture(scope="module")
def from_wheel(checkout: Path, wheel: Path) -> Path:
    python = make_venv(checkout / "from-wheel")
    pip(python, "install", str(wheel), where=checkout)
    return python


@pytest.fixture(scope="module")
def editable(checkout: Path) -> Path:
    python = make_venv(checkout / "editable")
    pip(python, "install", "-e", ".", where=checkout / "root")
    return python


@pytest.mark.parametrize("way", ["python -c", "python -m pytest", "gunicorn"])
def test_from_the_root_without_an_install_both_http_are_what_they_should_be(checkout: Path, way: str) -> None:
    python = make_venv(checkout / "nothing")
    run(python, ways(checkout / "probe")[way], where=checkout / "root")


@pytest.mark.parametrize("way", ways(Path()))
@pytest.mark.parametrize("install", ["from_wheel", "editable"])
def test_installed_both_http_are_what_they_should_be(
    checkout: Path, install: str, way: str, request: pytest.FixtureRequest
) -> None:
    python: Path = request.getfixturevalue(install)
    run(python, ways(checkout / "probe")[way], where=checkout / "root")


@pytest.mark.parametrize("install", ["from_wheel", "editable"])
def test_installed_both_http_are_what_they_should_be_anywhere(
    checkout: Path, install: str, request: pytest.FixtureRequest
) -> None:
    run(request.getfixturevalue(install), ["-c", PROBE], where=checkout / "probe")


def test_the_editable_install_is_the_checkout_and_leaves_the_root_as_it_was(checkout: Path, editable: Path) -> None:
    code = "import bridge.http.app as app, pathlib; print(pathlib.Path(app.__file__).resolve())"
    shown = subprocess.run([editable, "-c", code], cwd="/", capture_output=True, text=True, timeout=50, check=True)
    assert Path(shown.stdout.strip()) == (checkout / "root" / "http" / "app.py").resolve()
    visible = {path.name for path in (checkout / "root").iterdir() if not path.name.startswith(".")}
    assert visible == {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}


def test_the_wheel_holds_every_module_once_and_what_they_read(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    places = {"bridge": "bridge", "actors": "bridge/actors", "http": "bridge/http", "ops": "bridge/ops"}
    wanted = {
        f"{places[folder]}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder in CODE
        for path in [*house_plan.files(folder), *(ROOT / folder).glob("**/*.lua"), *(ROOT / folder).glob("**/*.html")]
        if path.resolve().is_relative_to(ROOT / folder)
    }
    assert wanted - set(names) == set()
    assert "bridge/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "actors/", "http/", "ops/"))]
