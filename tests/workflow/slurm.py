"""A Slurm of one node, started for a test: munged, slurmctld and slurmd of the Debian packages."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo")
#: jobs find their configuration here, since the plugin takes SLURM_CONF away from them
LINK = Path("/run/slurm/conf/slurm.conf")
# nodes and memory are as stated, whatever this machine has; nothing enforces memory
CONFIGURATION = """
ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=100000
ReturnToService=2
MinJobAge=300
KillWait=2
InactiveLimit=0
PropagateResourceLimits=NONE
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=64000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def hindrance() -> str:
    """Return why no Slurm can be started here; empty where it can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"{missing[0]} is missing; apt-get install slurm-wlm munge"
    if os.getuid() != 0:
        return f"only root can make {LINK}"
    return f"{LINK} is there: this machine has a Slurm of its own" if LINK.exists() else ""


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Path]:
    """Start Slurm in a folder, yield the file that lists its ended jobs, and stop it."""
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o700)
    key = folder / "munge/key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    facts = {"host": platform.node().partition(".")[0], "user": getpass.getuser()}
    configuration = folder / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, **facts), encoding="utf-8")
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
    munged = [f"--{name}={folder}/munge/{file}" for name, file in files.items()]
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(configuration)
    try:
        subprocess.run(
            ["munged", *munged, f"--seed-file={folder}/munge/seed", "--force"], check=True
        )
        subprocess.run(["slurmctld", "-c", "-f", configuration], check=True)
        subprocess.run(["slurmd", "-c", "-f", configuration], check=True)
        end = time.monotonic() + 20
        while _asked("sinfo", "--noheader", "--format", "%T") != "idle":
            assert time.monotonic() < end, (folder / "slurmctld.log").read_text(encoding="utf-8")
            time.sleep(0.1)
        yield folder / "jobs.txt"
    finally:
        subprocess.run(["scancel", "--user", facts["user"]], check=False)
        end = time.monotonic() + 20
        while _asked("squeue", "--noheader") and time.monotonic() < end:
            time.sleep(0.1)
        for file in ("slurmd.pid", "slurmctld.pid", "munge/pid"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((folder / file).read_text(encoding="ascii")), signal.SIGTERM)
        LINK.unlink()


def _asked(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
