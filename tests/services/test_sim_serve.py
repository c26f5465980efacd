"""The simulator as a process: agents over its socket, kill -9, a frozen clock, its own account."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firmware_sim import fleet

ROOT = Path(__file__).parents[2]
MAIN = "import sys; from firmware_sim.cli import main; sys.exit(main(sys.argv[1:]))"
AGENTS = ("41280/pole-01", "41480/pole-02", "41570/pole-03")


def sim(*arguments, check=True):
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


class Simulator:
    """A `dure sim serve` under test."""

    def __init__(self, folder, *arguments):
        self.socket, self.state = folder / "agents.sock", folder / "state"
        command = [sys.executable, "-c", MAIN, "serve", "--socket", self.socket, "--state", self.state, *arguments]
        self.errors = (folder / "errors").open("a")
        self.process = subprocess.Popen(
            [str(x) for x in command], cwd=ROOT, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        ready = self.process.stdout.readline()
        assert ready.startswith("ready socket="), (folder / "errors").read_text()

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


class Agent:
    """Reads a stream as the agent's driver does, and keeps what it got."""

    def __init__(self, simulator, name, after=0):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(simulator.socket))
        self.socket.sendall(json.dumps({"agent": name, "after": after}).encode() + b"\n")
        self.lines = self.socket.makefile("rb")
        self.after, self.clock_ms, self.last, self.got = after, 0, None, []

    def read(self, until=lambda agent: agent.last is not None, limit_s=20.0):
        end = time.monotonic() + limit_s
        while not until(self) and time.monotonic() < end:
            line = self.lines.readline()
            if not line:
                return self
            message = json.loads(line)
            assert "error" not in message, message
            self.clock_ms = message.get("clock_ms", self.clock_ms)
            if "observations" in message:
                assert message["first"] == self.after + 1
                for kind, columns in message["observations"].items():
                    for device, at in zip(columns["device"], columns["observed_at"], strict=True):
                        self.after += 1
                        self.got.append((self.after, kind, device, at))
            self.last = message.get("last", self.last)
        assert until(self), "the stream fell silent"
        return self

    def close(self):
        self.lines.close()
        self.socket.close()


@pytest.fixture
def folder(tmp_path):
    fleet.save(fleet.make(60, 3, 3), tmp_path / "fleet.json")
    return tmp_path


@pytest.fixture
def start(folder):
    running = []

    def begin(*arguments):
        running.append(Simulator(folder, *arguments))
        return running[-1]

    yield begin
    for simulator in running:
        simulator.stop()


def listed(state, agent):
    rows = [json.loads(line) for line in sim("list", "--state", state, "--agent", agent).stdout.splitlines()]
    return [(row["number"], row["kind"], row["device"], row["observed_at"]) for row in rows]


def test_agents_get_all_that_was_generated_and_the_process_leaves_by_itself(start, folder):
    simulator = start("--fleet", folder / "fleet.json", "--speed", "max", "--for-virtual", "3h")
    got = {}
    for name in AGENTS:
        agent = Agent(simulator, name).read()
        got[name] = agent.got
        assert agent.last == agent.after > 100
        agent.close()
    assert simulator.process.wait(10) == 0
    account = json.loads(sim("account", "--state", simulator.state).stdout)
    assert account["ended"] and account["generated"] == sum(map(len, got.values()))
    for name in AGENTS:
        assert account["agents"][name] == {"generated": len(got[name]), "handed_over": len(got[name])}
        assert listed(simulator.state, name) == got[name]


def test_after_kill_9_it_goes_on_where_its_clock_would_be_and_number_n_is_the_same(start, folder):
    arguments = ("--fleet", folder / "fleet.json", "--speed", "600", "--then-realtime")
    simulator = start(*arguments)
    first = Agent(simulator, AGENTS[0]).read(lambda agent: agent.after > 150)
    begun = json.loads((simulator.state / "run.json").read_text())
    simulator.process.send_signal(signal.SIGKILL)
    simulator.process.wait()
    assert json.loads(sim("account", "--state", simulator.state).stdout)["generated"] > 0
    time.sleep(1.0)
    again = start(*arguments)
    missed = Agent(again, AGENTS[0], first.after).read(lambda agent: agent.after >= first.after + 150)
    assert missed.clock_ms - first.clock_ms >= 0.5 * 600_000
    assert json.loads((again.state / "run.json").read_text()) == begun
    os.kill(again.process.pid, signal.SIGTERM)
    missed.read()
    for name in AGENTS[1:]:
        Agent(again, name).read().close()
    assert again.process.wait(10) == 0
    assert listed(again.state, AGENTS[0]) == first.got + missed.got


def test_an_absent_and_a_stuck_agent_hold_up_nobody_and_stop_still_gives_them_everything(start, folder):
    simulator = start("--fleet", folder / "fleet.json", "--speed", "max", "--then-realtime")
    stuck = Agent(simulator, AGENTS[1])
    fast = Agent(simulator, AGENTS[0]).read(lambda agent: agent.after > 20_000)
    frozen = json.loads(sim("stop", "--state", simulator.state).stdout)["frozen_at_ms"]
    fast.read()
    assert simulator.process.poll() is None
    account = json.loads(sim("account", "--state", simulator.state).stdout)
    assert account["clock_ms"] == frozen and account["ended"]
    assert stuck.read().after == account["agents"][AGENTS[1]]["generated"]
    late = Agent(simulator, AGENTS[2]).read()
    assert late.after == account["agents"][AGENTS[2]]["generated"]
    assert simulator.process.wait(10) == 0
    assert (
        json.loads(sim("account", "--state", simulator.state).stdout)["generated"]
        == fast.after + stuck.after + late.after
    )


def test_time_passes_without_observations_at_least_once_a_second(start, folder):
    now = int(time.time() * 1000)
    simulator = start("--fleet", folder / "fleet.json", "--speed", "1", "--start", str(now), "--then-realtime")
    agent = Agent(simulator, AGENTS[2])
    begin = time.monotonic()
    clocks = []
    agent.read(lambda agent: clocks.append(agent.clock_ms) or len(clocks) > 4)
    assert time.monotonic() - begin < 5 and clocks == sorted(clocks)


def test_a_second_sigterm_leaves_at_once(start, folder):
    simulator = start("--fleet", folder / "fleet.json")
    simulator.process.terminate()
    time.sleep(0.3)
    assert simulator.process.poll() is None
    simulator.process.terminate()
    assert simulator.process.wait(10) == 0


def test_strangers_and_impossible_numbers_are_answered_and_the_service_goes_on(start, folder):
    simulator = start("--fleet", folder / "fleet.json", "--speed", "max", "--for-virtual", "1h")

    def check(hello, expected):
        with socket.socket(socket.AF_UNIX) as other:
            other.settimeout(10)
            other.connect(str(simulator.socket))
            other.sendall(hello + b"\n")
            assert expected in json.loads(other.makefile("rb").readline())["error"]

    check(b'{"agent":"41280/pole-99","after":0}', "pole-99")
    check(b'{"agent":"41280/pole-01","after":99999999}', "cannot go on after 99999999")
    check(b"\xff\xff{", "")
    assert Agent(simulator, AGENTS[0]).read().after > 0


def test_a_recording_is_played_to_its_end_by_the_same_protocol(start, folder):
    rows = "".join(
        f"2026-06-01T{m // 60:02d}:{m % 60:02d}:00+00:00,{m},{'' if m % 3 else -m}\n" for m in range(0, 600, 5)
    )
    (folder / "spaces.csv").write_text("timestamp,dresden-parken-A,mobilitaet-jena-B\n" + rows)
    arguments = ("--recording", folder / "spaces.csv", "--map", "garages_de")
    sim("fleet", *arguments, "-o", folder / "recorded.json")
    agents = [
        f"{row['municipality']}/{row['agent']}" for row in json.loads((folder / "recorded.json").read_text())["agents"]
    ]
    assert agents == ["de-dresden/recorder-01", "de-jena/recorder-01"]
    simulator = start(*arguments, "--speed", "36000")
    got = [Agent(simulator, name).read() for name in agents]
    assert [agent.after for agent in got] == [120, 40]
    assert simulator.process.wait(10) == 0
    assert listed(simulator.state, agents[1]) == got[1].got
    converted = sim("convert", folder / "spaces.csv", "--map", "garages_de", "-o", folder / "{agent}.jsonl")
    assert json.loads(converted.stdout)["observations"] == 160
    lines = [json.loads(line) for line in (folder / "de-jena.recorder-01.jsonl").read_text().splitlines()]
    assert [(line["device"], line["observed_at"]) for line in lines] == [row[2:] for row in got[1].got]


def test_what_cannot_be_done_is_said_with_file_key_and_value_and_ends_2(folder):
    def check(arguments, *expected):
        done = sim(*arguments, check=False)
        assert done.returncode == 2 and all(text in done.stderr for text in expected), done.stderr

    (folder / "bad.toml").write_text('kind = "toaster"\n')
    (folder / "data.csv").write_text("a,b\n")
    check(["account", "--state", folder / "nothing"], "no account.json")
    check(["fleet", "--devices", "1", "--agents", "5", "-o", folder / "x.json"], "5 agents")
    check(["convert", folder / "data.csv", "--map", folder / "bad.toml", "-o", "x"], "bad.toml")
    check(["convert", folder / "data.csv", "--map", "nowhere", "-o", "x"], "'nowhere'", "garages_de")
    check(
        ["serve", "--fleet", folder / "fleet.json", "--socket", "s", "--state", folder / "s", "--speed", "fast"],
        "'fast'",
    )
    check(["stop", "--state", folder / "s"], "no simulator answers")


def test_a_run_begun_with_another_seed_is_not_continued_by_mistake(start, folder):
    simulator = start("--fleet", folder / "fleet.json", "--seed", "1", "--for-virtual", "1h")
    refused = sim(
        "serve",
        "--fleet",
        folder / "fleet.json",
        "--socket",
        folder / "x.sock",
        "--state",
        simulator.state,
        check=False,
    )
    assert refused.returncode == 2 and "another process" in refused.stderr
    simulator.process.kill()
    simulator.process.wait()
    refused = sim(
        "serve",
        "--fleet",
        folder / "fleet.json",
        "--socket",
        folder / "x.sock",
        "--state",
        simulator.state,
        "--seed",
        "2",
        check=False,
    )
    assert refused.returncode == 2 and "seed = 1" in refused.stderr
