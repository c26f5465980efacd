"""What the code imports is what the locks install and the page of dependencies lists."""

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SERVICES = ("contracts", "edge", "broker", "ingest_service", "platform_api", "firmware_sim", "deploy")
OWN = {*SERVICES, "dure", "tests"}


def imported(*folders: str) -> dict[str, str]:
    """Each third-party module that the folders import, with one file that does."""
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "node_modules" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                names: list[str] = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                for name in (name.split(".")[0] for name in names):
                    if name not in sys.stdlib_module_names and name not in OWN:
                        found[name] = str(path.relative_to(ROOT))
    return found


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(lock: str) -> set[str]:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text()
    return {plain(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)}


def missing(lock: str, *folders: str) -> dict[str, str]:
    installs, providers = locked(lock), importlib.metadata.packages_distributions()
    return {
        name: file
        for name, file in imported(*folders).items()
        if not {plain(package) for package in providers.get(name, [name])} & installs
    }


def test_the_platform_imports_only_what_its_lock_installs():
    assert "psycopg" in imported("ingest_service")
    drives_a_browser = {"playwright": "platform_api/screenshots_cli.py"}  # `./run dure screenshots` installs the tests'
    assert missing("services", *SERVICES) == drives_a_browser
    assert missing("dev", "platform_api").keys().isdisjoint(drives_a_browser)


def test_the_agent_imports_only_what_its_lock_installs():
    assert "msgspec" in imported("contracts")
    assert missing("edge", "edge", "contracts") == {}


def test_the_tests_import_only_what_their_lock_installs():
    peers = dict.fromkeys(("river", "rrcf"), "tests/benchmarks/detect_peer.py")  # `./run bench detect` gets them
    assert missing("dev", "tests") == peers


def test_the_locks_agree_with_each_other():
    def versions(lock: str) -> set[str]:
        return set(re.findall(r"^\S+==\S+", (ROOT / "requirements" / f"{lock}.lock").read_text(), re.MULTILINE))

    assert versions("edge") < versions("services") < versions("dev")


def test_the_page_of_dependencies_lists_every_package():
    page = (ROOT / "docs" / "reference" / "dependencies.md").read_text()
    for lock in ("services", "node"):
        assert [name for name in sorted(locked(lock)) if name not in page] == []
    wanted = (ROOT / "requirements" / "dev.in").read_text()
    assert [name for name in re.findall(r"^[a-z][a-z-]+", wanted, re.MULTILINE) if name not in page] == []
