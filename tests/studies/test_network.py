"""A study over a network: nodes with addresses and processes of their own, in namespaces; one is cut off and comes back."""

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_cluster import study_file, weights_of

from tench.records import list_runs

SCRIPT = Path(__file__).parents[2] / "docs" / "slurm" / "study.sh"
BIN = Path(sys.executable).parent
NET = "10.77.0"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="NETWORK NAMESPACES NEED ROOT AND iproute2: not tested here"),
]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass(frozen=True)
class Node:
    """A machine of its own, as far as Ray can see. The hub is a namespace with a bridge."""

    name: str
    hub: str
    address: str
    folder: Path

    def command(self, *words: object, alone: bool = False) -> list[str]:
        """`words`, run on the node; `alone`: they see no process but their own, and all they start ends with them.

        Ray's folder has the same path on every node, and on each another content, as on machines with disks of their own.
        """
        apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] if alone else []
        own = ["sh", "-c", 'mount --bind "$0" "$RAY_TMPDIR" && exec "$@"', self.folder]
        return [*("ip", "netns", "exec", self.name), *apart, "env", f"RAY_TMPDIR={self.folder.parent}", *map(str, [*own, *words])]

    def cut(self, off: bool) -> None:
        """Take its cable out, or put it back."""
        ip("-n", self.hub, "link", "set", self.name, "down" if off else "up")


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    """Three of them."""
    tag = f"t{os.getpid()}"
    hub, names = f"{tag}hub", [f"{tag}{letter}" for letter in "abc"]
    folder = Path(tempfile.mkdtemp(prefix=tag, dir="/tmp"))  # short: paths of sockets have 107 characters at most
    try:
        ip("netns", "add", hub)
        ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", hub, "link", "set", "bridge", "up")
        hosts = "127.0.0.1 localhost\n" + "".join(f"{NET}.{number} {name}\n" for number, name in enumerate(names, start=1))
        made = []
        for number, name in enumerate(names, start=1):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", hub, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("-n", hub, "link", "set", name, "master", "bridge", "up")
            ip("-n", name, "address", "add", f"{NET}.{number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            own = Path("/etc/netns", name)
            own.mkdir(parents=True)
            (own / "hosts").write_text(hosts)  # `ip netns exec` lays it over /etc/hosts
            (folder / name[-1]).mkdir()
            made.append(Node(name, hub, f"{NET}.{number}", folder / name[-1]))
        yield made
    finally:
        for name in [*names, hub]:
            for pid in subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout.split():
                subprocess.run(["kill", "-9", pid], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
            shutil.rmtree(Path("/etc/netns", name), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def environment(runs: Path) -> dict[str, str]:
    own = {"TENCH_RUNS": str(runs), "TENCH_NO_TUNING": "1", "PATH": f"{BIN}:{os.environ['PATH']}"}
    quick = {"RAY_health_check_initial_delay_ms": "2000", "RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "1000"}
    others = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}  # of studies in this very process
    return others | own | quick | {"RAY_health_check_failure_threshold": "3", "RAY_USAGE_STATS_ENABLED": "0"}


def words_of(folder: Path, net: Path, data: Path, epochs: int) -> list[str]:
    return ["study", str(study_file(folder, net, epochs)), "--data", str(data), "--threads", "1", "--no-exhibits"]


def here(words: list[str], folder: Path) -> dict[str, dict[str, bytes]]:
    """What the same study gives without a cluster."""
    runs = folder / "here"
    subprocess.run([BIN / "tench", *words], env=environment(runs), check=True, capture_output=True)
    return weights_of(runs)


def test_the_slurm_script_runs_a_study_on_all_nodes(nodes: list[Node], tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """The script as it is, with `srun` and `scontrol` of our own that know the three nodes: SLURM itself is not here."""
    shims = tmp_path / "shims"
    shims.mkdir()
    listed = " ".join(node.name for node in nodes)
    (shims / "scontrol").write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "show hostnames nodes[a-c]" ] && printf "%s\\n" {listed}\n')
    starts = "".join(f'{shlex.join(node.command(alone=True))} "$@" &\n' for node in nodes)
    check = f'[ "$1 $2 $3" = "--nodes={len(nodes)} --ntasks={len(nodes)} --cpus-per-task=1" ] || exit 64\nshift 3\n'
    (shims / "srun").write_text(f"#!/bin/bash\n{check}{starts}for job in $(jobs -p); do wait $job || code=$?; done\nexit ${{code:-0}}\n")
    for shim in shims.iterdir():
        shim.chmod(0o755)
    words = words_of(tmp_path, tiny_net, tiny_folder, 3)
    expected = here(words, tmp_path)
    job = {"SLURM_JOB_NODELIST": "nodes[a-c]", "SLURM_JOB_NUM_NODES": str(len(nodes)), "SLURM_CPUS_PER_TASK": "1"}
    env = environment(tmp_path / "there") | job
    env["PATH"] = f"{shims}:{env['PATH']}"
    done = subprocess.run([SCRIPT, *words], env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "whoever reaches a Ray port can run code there" in done.stderr
    there = weights_of(tmp_path / "there")
    assert len(there) == 2
    assert there == expected


def lines(runs: Path) -> list[int]:
    return sorted(len(path.read_text().splitlines()) for path in runs.glob("*/history.jsonl"))


def wait_for(what: str, process: "subprocess.Popen[str]", said: Path, is_so: Callable[[], bool]) -> None:
    ended = time.monotonic() + 180
    while not is_so():
        assert time.monotonic() < ended, f"{what}: {said.read_text()[-4000:]}"
        assert process.poll() is None, said.read_text()[-4000:]
        time.sleep(0.3)


def test_a_node_that_is_cut_off_costs_nothing_and_is_of_use_when_it_is_back(
    nodes: list[Node], tiny_net: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    head, *workers = nodes
    runs, said = tmp_path / "there", tmp_path / "said.txt"
    env, words = environment(runs), words_of(tmp_path, tiny_net, tiny_folder, 400)
    env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    expected = here(words, tmp_path)  # first, so that the engine's trial is remembered: two at once might end differently
    address = f"{head.address}:6379"
    start = [BIN / "ray", "start", "--disable-usage-stats", "--block"]
    with said.open("w") as file:
        begin = [*start, "--head", f"--node-ip-address={head.address}", "--port=6379", "--num-cpus=0", "--include-dashboard=false"]
        subprocess.Popen(head.command(*begin), env=env, stdout=file, stderr=file)
        join = [*start, f"--address={address}", "--num-cpus=1"]

        def joined(node: Node) -> "subprocess.Popen[bytes]":
            return subprocess.Popen(node.command(*join, f"--node-ip-address={node.address}"), env=env, stdout=file, stderr=file)

        def alive() -> set[str]:
            # A file of its own: what Ray has to say of lost nodes stands before and behind what is printed.
            answer = tmp_path / "alive.json"
            answer.unlink(missing_ok=True)
            ask = "import json, pathlib, ray, sys; ray.init(address='auto', log_to_driver=False, logging_level='ERROR'); "
            ask += "pathlib.Path(sys.argv[1]).write_text(json.dumps([node['NodeManagerAddress'] for node in ray.nodes() if node['Alive']]))"
            asked = head.command(sys.executable, "-c", ask, str(answer))
            done = subprocess.run(asked, env=env | {"RAY_ADDRESS": address}, capture_output=True, check=False)
            return set(json.loads(answer.read_text())) if done.returncode == 0 else set()

        ended = time.monotonic() + 60
        while head.address not in alive():
            assert time.monotonic() < ended, said.read_text()[-4000:]
        first = {node.name: joined(node) for node in workers}
        driver = head.command(BIN / "tench", *words, "--on", f"ray:{address}")
        process = subprocess.Popen(driver, env=env, stdout=file, stderr=file, text=True)
        wait_for("both runs go on", process, said, lambda: len(lines(runs)) == 2 and lines(runs)[0] >= 5)
        lost = workers[0]
        lost.cut(off=True)
        wait_for("it is missed", process, said, lambda: lost.address not in alive())
        lost.cut(off=False)
        assert first[lost.name].wait(timeout=60) != 0, "Ray takes back no node that it has given up: it ends, and is begun anew"
        joined(lost)
        wait_for("it is back", process, said, lambda: lost.address in alive())
        assert process.wait(timeout=300) == 0, said.read_text()[-4000:]
    there = weights_of(runs)
    assert len(there) == 2
    assert there == expected
    assert all([line["epoch"] for line in run.history()] == list(range(1, 401)) for run in list_runs(runs).runs)
