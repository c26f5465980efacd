"""The database goes away and comes back: clear errors meanwhile, service again at once, streams kept."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.database_fixture import ROOT, DatabaseProcess
from tests.services.api_fixture import PASSWORD, City, migrated, problem, serving, sign_in, until


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseProcess]:
    """A PostgreSQL of the test's own, to be killed."""
    own = DatabaseProcess(tmp_path_factory.mktemp("outage") / "state")
    own.start()
    yield own
    own.stop()


async def test_a_killed_postgres_is_503_with_a_reason_and_served_again_when_it_is_back(server: DatabaseProcess) -> None:
    city = migrated(server.url, "outage")
    with serving(city) as served:
        async with httpx.AsyncClient(base_url=served.url, timeout=20) as client:
            token = await sign_in(client, "operator")
            assert (await client.get("/api/v1/devices")).status_code == 200
            assert server.stop() == 0  # gone for longer than any retry
            await asyncio.sleep(6)
            began = time.monotonic()
            answer = await client.get("/api/v1/devices")
            assert time.monotonic() - began < 6
            assert problem(answer, 503)["type"] == "urn:dure:problem:database-away"
            assert answer.headers["retry-after"] == "2"
            why = problem(await client.get("/ready"), 503)["detail"]
            assert "the database cannot be reached: " in why and "No such file or directory" in why
            assert (await client.get("/health")).status_code == 200
            again = await client.post("/api/v1/sign-in", json={"name": "operator", "password": PASSWORD})
            problem(again, 503)
            assert server.start() == city.url
            await until(lambda: _answers(client, 200), 10)

            server.kill_postgres()  # kill -9; its supervisor starts it again
            await until(lambda: _answers(client, 200), 20)
            assert client.headers["Authorization"] == f"Bearer {token}"  # the same session goes on


async def _answers(client: httpx.AsyncClient, status: int) -> bool:
    return (await client.get("/api/v1/devices")).status_code == status


async def test_changes_made_while_not_listening_reach_streams_after_the_return(server: DatabaseProcess) -> None:
    city = migrated(server.url, "outage")
    with serving(city) as served:
        async with httpx.AsyncClient(base_url=served.url, timeout=30) as client:
            await sign_in(client, "viewer")
            async with client.stream("GET", "/api/v1/stream") as response:
                lines = response.aiter_lines()
                assert await anext(lines) == "event: hello"
                server.kill_postgres()
                await until(lambda: _changed(city), 20)
                async with asyncio.timeout(20):
                    async for line in lines:
                        if '"alarm_id":990001' in line and '"state":"cleared"' in line:
                            break


async def _changed(city: City) -> bool:
    """Another process clears an alarm without telling anybody."""
    import psycopg

    try:
        city.run("UPDATE alarm SET state = 'cleared', cleared_at = now(), changed_at = now() WHERE alarm_id = 990001")
    except psycopg.OperationalError:
        return False
    return True


def test_the_command_adds_accounts_and_says_what_is_wrong(server: DatabaseProcess) -> None:
    city = migrated(server.url, "accounts")

    def added(*arguments: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "dure.py"), "api", "add-account", *arguments, "--password-file", "-"]
        return subprocess.run(
            command, env=city.environment, input=password + "\n", capture_output=True, text=True, timeout=60
        )

    done = added("--name", "minji", "--role", "engineer", "--municipality", "41480", "--language", "en")
    assert done.returncode == 0, done.stderr
    assert city.run("SELECT role, municipality, language FROM account WHERE name = 'minji'") == [
        ("engineer", "41480", "en")
    ]
    assert PASSWORD not in str(city.run("SELECT password_hash FROM account"))
    assert "already" in added("--name", "minji").stderr
    assert "no municipality" in added("--name", "jun", "--municipality", "99999").stderr
    assert "characters" in added("--name", "jun", password="short").stderr
    missing = {**os.environ, "DURE_DATABASE_URL": ""}
    missing.pop("DURE_DATABASE_URL")
    command = [sys.executable, str(ROOT / "dure.py"), "api"]
    refused = subprocess.run(command, env=missing, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "DURE_DATABASE_URL" in refused.stderr
