"""A Slurm of one's own: munged, slurmctld and slurmds with all files in one folder, beside whatever else runs here."""

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from vmlab.errors import HostError
from vmlab.runtime.wait import Deadline, until

_READY_S = 60.0
_END_S = 30.0


class Slurm:
    """A cluster whose daemons are this process's children. Only root may start it.

    `nodes` are lines as in slurm.conf(5), with NodeName; a node has a slurmd when `join` was called for it.
    """

    def __init__(self, folder: Path, nodes: Sequence[str], *, address: str = "127.0.0.1", more: str = "") -> None:
        self.folder = folder
        self._children: list[subprocess.Popen[bytes]] = []
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        folder.chmod(0o755)  # munged's socket is everybody's
        self._key = folder / "munge.key"
        self._key.touch(mode=0o600)
        self._key.write_bytes(secrets.token_bytes(1024))
        self.conf = folder / "slurm.conf"
        (folder / "gres.conf").write_text("")
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        names = [line.split()[0].partition("=")[2] for line in nodes]
        # A host's name is told by UTS namespaces, a node's by slurmd's -N; nothing is confined by cgroups, as they may
        # not be there.
        self.conf.write_text(f"""
ClusterName=vmlab
SlurmctldHost={socket.gethostname()}({address})
SlurmctldPort={free_port()}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={self.socket}
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=2,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
MaxJobCount=20000
{more}
{chr(10).join(nodes)}
PartitionName=lab Nodes={",".join(names)} Default=YES MaxTime=INFINITE State=UP
""")
        self.environment = {**os.environ, "SLURM_CONF": str(self.conf)}

    @property
    def socket(self) -> Path:
        """munged's."""
        return self.folder / "munge.socket"

    def start(self) -> None:
        """munged and slurmctld, to when slurmctld answers. Raises HostError."""
        self._begin("munged", "--foreground", "--force", f"--key-file={self._key}", f"--socket={self.socket}",
                    f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/munged.log",
                    f"--seed-file={self.folder}/munged.seed")  # fmt: skip
        self._await(self.socket.exists, "munged")
        self._begin("slurmctld", "-D")
        self._await(lambda: not self.call("scontrol", "ping", check=False).returncode, "slurmctld")

    def join(self, node: str, *inside: str) -> None:
        """A slurmd for a node, to when it is idle; `inside` is put before its command, to bring it into namespaces."""
        self._begin("slurmd", "-D", "-N", node, inside=inside)
        self._await(lambda: self.told("sinfo", "-h", "-n", node, "-o", "%t") == "idle", f"slurmd-{node}")

    def call(self, *argv: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """One of Slurm's own commands, on this cluster."""
        return subprocess.run(
            argv, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=check
        )

    def told(self, *argv: str) -> str:
        """What such a command prints."""
        return self.call(*argv).stdout.strip()

    def state(self, job: str) -> str:
        """PENDING, RUNNING, COMPLETED and the like."""
        return self.told("squeue", "-h", "-t", "all", "-j", job, "-o", "%T")

    def stop(self) -> None:
        """End all that was started, the last first."""
        while self._children:
            child = self._children.pop()
            child.terminate()
            try:
                child.wait(_END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def log(self, name: str) -> str:
        """What a daemon has said."""
        return (self.folder / f"{name}.out").read_text(errors="replace")

    def _begin(self, program: str, *arguments: str, inside: Sequence[str] = ()) -> None:
        path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if path is None:
            raise HostError(f"`{program}` is not installed", hint="scripts/setup --test")
        name = f"{program}-{arguments[-1]}" if program == "slurmd" else program
        with (self.folder / f"{name}.out").open("ab") as out:
            self._children.append(
                subprocess.Popen(
                    (*inside, path, *arguments),
                    env=self.environment,
                    stdout=out,
                    stderr=out,
                    stdin=subprocess.DEVNULL,
                    cwd="/",
                )
            )

    def _await(self, ready: Callable[[], bool], name: str) -> None:
        child = self._children[-1]
        until(lambda: ready() or child.poll() is not None, Deadline.after(_READY_S), every_s=0.1)
        if child.poll() is not None or not ready():
            raise HostError(f"{name} does not answer: {self.log(name)[-2000:]}")


def free_port() -> int:
    """Of TCP, for a daemon that is about to begin."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
