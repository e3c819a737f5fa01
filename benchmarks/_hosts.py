"""Hosts with a network, a disk, process ids and a name of their own, on one machine: Linux namespaces, for root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_BRIDGE = "10.77.0.1"


def again_inside() -> None:
    """Start this program anew where what it makes of networks and mounts is its own, and gone with it; once."""
    if os.environ.get("STENO_BENCH_INSIDE"):
        return
    os.environ["STENO_BENCH_INSIDE"] = "1"
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    os.execvp("unshare", [*words, sys.executable, *sys.argv])


def network() -> str:
    """Make what the hosts are plugged into; this program's address on it."""
    for line in (
        "mount --make-rprivate /",
        "mount -t tmpfs tmpfs /run",
        "ip link set lo up",
        "ip link add br0 type bridge",
        f"ip addr add {_BRIDGE}/24 dev br0",
        "ip link set br0 up",
    ):
        subprocess.run(line.split(), check=True)
    names = Path("/run/hosts")
    names.write_text("127.0.0.1 localhost\n" + "".join(f"10.77.0.{one} host{one}\n" for one in range(2, 255)))
    subprocess.run(["mount", "--bind", names, "/etc/hosts"], check=True)
    return _BRIDGE


class Host:
    """One host.

    Args:
        number: its address is `10.77.0.NUMBER`.
        disk: a directory; below it each host sees a disk of its own.
    """

    def __init__(self, number: int, disk: Path) -> None:
        self.name, self.address, self.disk = f"host{number}", f"10.77.0.{number}", disk
        self._plug = f"v{number}"
        for line in (
            f"ip netns add {self.name}",
            f"ip link add v{number} type veth peer name eth0 netns {self.name}",
            f"ip link set v{number} master br0 up",
            f"ip -n {self.name} addr add {self.address}/24 dev eth0",
            f"ip -n {self.name} link set lo up",
            f"ip -n {self.name} link set eth0 up",
        ):
            subprocess.run(line.split(), check=True)

    def start(self, *command: str, **env: str) -> subprocess.Popen[str]:
        """Run a program there; killed, all that it has started is killed with it."""
        script = 'mount -t tmpfs tmpfs "$0"; hostname "$1"; shift; exec "$@"'
        inside = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, *inside, "sh", "-c", script, str(self.disk), self.name, *command],
            env=self._environment(env),
            stdout=subprocess.PIPE,
            text=True,
        )

    def unplug(self) -> None:
        """From now on nothing comes out of it, not even that a connection has ended: as when its power is cut."""
        subprocess.run(["ip", "link", "set", self._plug, "down"], check=True)

    def _environment(self, env: Mapping[str, str]) -> dict[str, str]:
        return {**os.environ, "GLOO_SOCKET_IFNAME": "eth0", "STENO_CACHE_DIR": f"{self.disk}/cache", **env}


def processes_of(place: Path) -> list[int]:
    """Processes whose command line names something below a directory, but for this one."""
    found, wanted = [], os.fsencode(place)
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(name)
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if pid != os.getpid() and any(word == wanted or word.startswith(wanted + b"/") for word in words):
                found.append(pid)
    return found
