"""The embedded database's decisions: as whom it runs, how large it is, where its socket lies."""

import os
from pathlib import Path

import pytest

from ingest_service.database import programs, unprivileged
from ingest_service.database.cluster import MAX_SOCKET_PATH_BYTES, Cluster, ClusterError, settings
from ingest_service.database.supervisor import locked, write_atomically

GIGABYTE = 2**30


def test_memory_follows_the_machine_between_bounds():
    assert settings(GIGABYTE // 2)["shared_buffers"] == "128MB"
    assert settings(4 * GIGABYTE)["shared_buffers"] == "512MB"
    assert settings(256 * GIGABYTE)["shared_buffers"] == "2048MB"


def test_nothing_committed_may_be_lost_and_no_port_is_open():
    chosen = settings(GIGABYTE)
    assert [chosen[name] for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on", "on", "on"]
    assert chosen["listen_addresses"] == "''"


def test_root_goes_by_namespace_first_and_an_ordinary_account_as_itself(monkeypatch):
    monkeypatch.setattr(unprivileged, "has_name", lambda uid: uid in (0, 1000))
    assert unprivileged.modes(0) == ("namespace", "capabilities")
    assert unprivileged.modes(1000) == ("plain",)
    assert unprivileged.modes(4711) == ("namespace",)  # a container's uid without a name, which initdb refuses


def test_the_account_that_stands_in_for_root_is_neither_root_nor_the_overflow_account():
    assert 0 < unprivileged.account().pw_uid < unprivileged.OVERFLOW_UID


def test_programs_that_are_not_there_are_named(tmp_path):
    with pytest.raises(programs.ProgramsError, match="no program 'initdb'"):
        programs.find(tmp_path)


def test_the_socket_lies_in_the_state_directory_where_its_path_is_short_enough(tmp_path):
    short = Path("/tmp") / f"dure-unit-{os.getpid()}"
    short.mkdir()
    try:
        cluster = Cluster(short)
        cluster.place_socket()
        assert cluster.socket_directory == short / "socket"
        assert cluster.url == f"postgresql://dure@/dure?host={short}/socket&port=5432"
    finally:
        (short / "socket").rmdir()
        short.rmdir()


@pytest.mark.parametrize("name", ["long-" * 25, "with a blank", "한강", "comma,comma"])
def test_the_socket_moves_to_a_private_short_place_where_the_path_will_not_do(tmp_path, name):
    state = tmp_path / name
    state.mkdir()
    cluster = Cluster(state)
    cluster.place_socket()
    place = cluster.socket_directory
    try:
        assert not place.is_relative_to(state)
        assert len(os.fsencode(place / ".s.PGSQL.5432")) < MAX_SOCKET_PATH_BYTES
        assert place.stat().st_mode & 0o777 == 0o700
        again = Cluster(state)
        again.place_socket()
        assert again.url == cluster.url
    finally:
        place.rmdir()


def test_a_socket_directory_that_somebody_else_put_there_is_refused(tmp_path, monkeypatch):
    state = tmp_path / ("long-" * 25)
    state.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cluster = Cluster(state)
    cluster.place_socket()
    place = cluster.socket_directory
    place.rmdir()
    place.symlink_to(tmp_path)
    with pytest.raises(ClusterError, match="cannot use"):
        cluster.place_socket()


def test_the_state_directory_is_held_by_one_at_a_time(tmp_path):
    state = tmp_path / "state"
    with locked(state), pytest.raises(ClusterError, match=f"process {os.getpid()}"), locked(state):
        pass
    with locked(state):
        pass


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ClusterError, match="Not a directory"), locked(tmp_path / "file" / "state"):
        pass


def test_the_address_is_replaced_whole_and_private(tmp_path):
    path = tmp_path / "database.url"
    write_atomically(path, "one\n")
    write_atomically(path, "two\n")
    assert path.read_text() == "two\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["database.url"]
