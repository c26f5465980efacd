"""Identities: who keeps a password, who gets one, and what becomes of runs that die half way."""

import json
from pathlib import Path

import pytest

from broker import registry
from broker.errors import BrokerError
from broker.state import State

AGENTS = [("41280", "pole-01"), ("41480", "pole-01")]


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


def issue(state: State, agents: list[tuple[str, str]] = AGENTS, **options: object) -> registry.Issued:
    return registry.issue(state, agents, host="127.0.0.1", port=1883, **options)  # type: ignore[arg-type]


def content(state: State) -> dict[str, bytes]:
    files = [path for path in state.directory.rglob("*") if path.suffix in {".toml", ".json"}]
    return {str(path): path.read_bytes() for path in files}


def test_every_agent_and_service_gets_its_own_file(state: State) -> None:
    assert sorted(issue(state).made) == ["41280.pole-01", "41480.pole-01", "api", "ingest"]
    found = registry.read_credentials(state.agents / "41280.pole-01.toml")
    assert (found.host, found.port, found.username) == ("127.0.0.1", 1883, "41280.pole-01")
    assert found.password != registry.read_credentials(state.agents / "41480.pole-01.toml").password
    assert registry.read_credentials(state.services / "ingest.toml").username == "ingest"


def test_issuing_twice_changes_nothing(state: State) -> None:
    issue(state)
    before, version = content(state), registry.version(state)
    assert issue(state).made == []
    assert (content(state), registry.version(state)) == (before, version)


def test_the_registry_holds_no_password(state: State) -> None:
    issue(state)
    text = state.registry.read_text()
    for path in (*state.agents.iterdir(), *state.services.iterdir()):
        assert registry.read_credentials(path).password not in text


def test_an_interrupted_run_is_completed_with_the_password_that_was_already_written(state: State) -> None:
    issue(state)
    known = [entry for entry in json.loads(state.registry.read_text()) if entry["username"] != "41280.pole-01"]
    state.registry.write_text(json.dumps(known))
    before = registry.read_credentials(state.agents / "41280.pole-01.toml")
    assert issue(state).made == ["41280.pole-01"]
    assert registry.read_credentials(state.agents / "41280.pole-01.toml") == before
    assert "41280.pole-01" in registry.load(state)


def test_a_file_that_moved_to_its_box_is_not_made_again(state: State) -> None:
    issue(state)
    (state.agents / "41280.pole-01.toml").unlink()
    version = registry.version(state)
    assert issue(state).absent == ["41280.pole-01"]
    assert not (state.agents / "41280.pole-01.toml").exists()
    assert registry.version(state) == version


def test_reissuing_makes_a_new_password_for_that_one_only(state: State) -> None:
    issue(state)
    before = {path: registry.read_credentials(path).password for path in state.agents.iterdir()}
    assert issue(state, reissue=["41280.pole-01"]).made == ["41280.pole-01"]
    changed = [path.stem for path, password in before.items() if registry.read_credentials(path).password != password]
    assert changed == ["41280.pole-01"]


def test_reissuing_a_stranger_is_refused(state: State) -> None:
    issue(state)
    with pytest.raises(BrokerError, match=r"cannot reissue 41280\.pole-99: not registered"):
        issue(state, reissue=["41280.pole-99"])


def test_agents_that_the_manifest_forgot_stay_until_pruned(state: State) -> None:
    issue(state)
    assert issue(state, AGENTS[:1]).unlisted == ["41480.pole-01"]
    assert "41480.pole-01" in registry.load(state)
    assert issue(state, AGENTS[:1], prune=True).revoked == ["41480.pole-01"]
    assert sorted(registry.load(state)) == ["41280.pole-01", "api", "ingest"]
    assert not (state.agents / "41480.pole-01.toml").exists()


def test_a_new_address_reaches_every_file_and_no_password_changes(state: State) -> None:
    issue(state)
    before = registry.read_credentials(state.agents / "41280.pole-01.toml")
    registry.issue(state, AGENTS, host="::1", port=2883)
    after = registry.read_credentials(state.agents / "41280.pole-01.toml")
    assert (after.host, after.port) == ("::1", 2883)
    assert (after.password, after.client_id) == (before.password, before.client_id)


@pytest.mark.parametrize(
    ("municipality", "agent"),
    [("41280", "Pole"), ("41280", "a/b"), ("41280", "+"), ("41280", 'x"'), ("4.1", "a"), ("", "a")],
)
def test_names_that_could_widen_a_permission_are_refused(state: State, municipality: str, agent: str) -> None:
    with pytest.raises(BrokerError, match="cannot register agent"):
        issue(state, [(municipality, agent)])
    assert registry.load(state) == {}


def test_a_client_id_suits_nats_and_cannot_be_guessed() -> None:
    ids = {registry.client_id("41280.pole-01") for _ in range(3)}
    assert len(ids) == 3
    assert not any(character in client_id for client_id in ids for character in ". *>")
