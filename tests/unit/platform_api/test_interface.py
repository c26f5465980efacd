"""What the API promises on paper: its document, its settings' sample, its statements."""

import inspect
import re
import tomllib
from pathlib import Path

import pytest

from contracts import config, profiles
from platform_api import caller, passwords
from platform_api.app import create_app
from platform_api.queries import (
    accounts,
    agents,
    alarms,
    devices,
    fleet,
    municipalities,
    quarantine,
    ranked,
    series,
    windows,
)
from platform_api.queries.database import SQL, statement
from platform_api.settings import Database, Settings

ROOT = Path(__file__).parents[3]
MODULES = (accounts, agents, alarms, devices, fleet, municipalities, quarantine, ranked, series, windows)


def test_the_sample_holds_every_setting_with_its_default() -> None:
    sample = tomllib.loads((ROOT / "deploy/config/api.toml").read_text(encoding="utf-8"))
    for cls, name in ((Settings, "api"), (Database, "database")):
        expected = {item.key: item.default for item in config.settings_of(cls, name=name) if not item.required}
        assert sample[name] == expected
        assert all(item.description for item in config.settings_of(cls, name=name))


def test_every_statement_begins_with_its_comment_and_has_a_typed_function() -> None:
    functions = {
        name: found for module in MODULES for name, found in inspect.getmembers(module, inspect.iscoroutinefunction)
    }
    for file in SQL.glob("*.sql"):
        opening = file.read_text(encoding="utf-8").split("\n\n")[0]
        assert opening.startswith("-- "), file.name
        assert file.stem in functions, f"{file.name} has no function {file.stem}"
        assert inspect.signature(functions[file.stem]).return_annotation is not inspect.Signature.empty


def test_every_statement_says_which_index_it_expects() -> None:
    silent = {"database_size", "agent_interval"}
    for file in SQL.glob("*.sql"):
        comment = "".join(re.findall(r"^--.*$", file.read_text(encoding="utf-8"), re.M))
        assert file.stem in silent or "Index:" in comment or "unique key" in comment, file.name


def test_the_document_describes_every_operation_its_errors_and_who_may() -> None:
    app = create_app(Settings(), Database(url="postgresql://"), profiles.load())
    document = app.openapi()
    assert set(document["components"]["securitySchemes"]) == {"HTTPBearer", "APIKeyCookie"}
    tags = {tag["name"] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert set(operation["tags"]) <= tags
            if path.startswith("/api/v1") and path != "/api/v1/sign-in":
                assert operation["security"], path
                assert "application/problem+json" in operation["responses"]["401"]["content"]
    assert "Problem" in document["components"]["schemas"]
    text = str(document)
    for reference in re.findall(r"#/components/schemas/(\w+)", text):
        assert reference in document["components"]["schemas"]


def test_statements_take_what_a_profile_names_as_names_only() -> None:
    from psycopg import sql

    made = statement("series_first_bucket", {"rollup": sql.Identifier('x"; drop table device; --')})
    assert '"x""; drop table device; --"' in made.as_string(None)


def test_a_password_is_verified_by_its_hash_and_nothing_else() -> None:
    stored = passwords.hashed("correct horse battery")
    assert passwords.verify("correct horse battery", stored)
    assert not passwords.verify("correct horse batterz", stored)
    assert not passwords.verify("correct horse battery", None)
    assert not passwords.verify("x", "scrypt$broken")
    assert stored != passwords.hashed("correct horse battery")
    with pytest.raises(ValueError, match="7 characters"):
        passwords.hashed("1234567")


def test_failures_are_forgotten_after_their_minute() -> None:
    failures = caller.Failures(2)
    failures.add("minji", "10.0.0.1", 0.0)
    assert failures.retry_after_s("minji", "10.0.0.1", 1.0) == 0
    failures.add("minji", "10.0.0.1", 10.0)
    assert failures.retry_after_s("minji", "10.0.0.1", 20.0) == 40.0
    assert failures.retry_after_s("minji", "10.0.0.2", 20.0) == 0
    assert failures.retry_after_s("minji", "10.0.0.1", 61.0) == 0
