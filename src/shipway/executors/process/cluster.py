"""The environment of a replica: what stands for the node and the image, and what the operator adds."""

from __future__ import annotations

import fnmatch
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from shipway import modules
from shipway.executors.process import reaper
from shipway.executors.process.folder import JobFolder
from shipway.executors.process.plan import JobPlan, ReplicaPlan

# What of the caller's environment an image or a node would bring: where storage is, locale, proxies, tuning.
AMBIENT = (
    "AWS_*", "CUDA_VISIBLE_DEVICES", "HTTPS_PROXY", "HTTP_PROXY", "LANG", "LC_*", "LD_LIBRARY_PATH", "NO_COLOR",
    "NO_PROXY", "OMP_NUM_THREADS", "PYTHONHASHSEED", "PYTHONPATH", "REQUESTS_CA_BUNDLE", "SHIPWAY_ENVIRONMENTS",
    "SHIPWAY_EXECUTOR", "SHIPWAY_HOME", "SHIPWAY_INVOCATION", "SHIPWAY_IMAGES", "SHIPWAY_NAMESPACE",
    "SHIPWAY_MODULES",
    "SHIPWAY_RUN", "SHIPWAY_STORE", "SSL_CERT_*", "TF_CPP_*", "TF_NUM_*", "TF_USE_*", "TF_ENABLE_*", "TZ", "http_proxy",
    "https_proxy", "no_proxy",
)  # fmt: skip


def ambient(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that replicas may see; it stays in memory, since it holds credentials.

    A user's recipe must still be found, though a replica works in a folder of its own.
    """
    given = modules.for_container(dict(environment))
    return {k: v for k, v in given.items() if any(fnmatch.fnmatchcase(k, pattern) for pattern in AMBIENT)}


def tf_config(plan: JobPlan, replica: ReplicaPlan, ports: Mapping[str, int]) -> str:
    """TF_CONFIG as the operator builds it (`genTFConfigJSONStr`): roles in lower case, the evaluator among them,
    addresses of this machine in place of service names."""
    cluster: dict[str, list[str]] = {}
    for other in plan.replicas:
        cluster.setdefault(other.role, []).append(f"127.0.0.1:{ports[other.name]}")
    task = {"type": replica.role, "index": replica.index}
    return json.dumps({"cluster": cluster, "task": task, "environment": "cloud"})


def replica_environment(
    plan: JobPlan, replica: ReplicaPlan, ports: Mapping[str, int], folder: JobFolder, scratch: Path | None
) -> dict[str, str]:
    """Everything a replica sees beside its container's own `env` and its private folder."""
    env = ambient(os.environ)
    env["PATH"] = os.pathsep.join([plan.bin, os.environ.get("PATH", os.defpath)])
    env["PYTHONUNBUFFERED"] = "1"  # a killed replica's last lines are what a person needs most
    if plan.distributed:
        env["TF_CONFIG"] = tf_config(plan, replica, ports)
    if plan.mpi is not None and scratch is not None:
        env |= _open_mpi(plan, folder, scratch)
    return env


def _open_mpi(plan: JobPlan, folder: JobFolder, scratch: Path) -> dict[str, str]:
    """What makes any `mpirun` of the launcher's command start its ranks here, each through our wrapper.

    By environment, so that the command's own arguments are played as they stand.
    """
    assert plan.mpi is not None
    hostfile = scratch / "hostfile"
    hostfile.write_text(f"localhost slots={sum(plan.mpi.slots)}\n", encoding="utf-8")
    python, wrapper = (
        scratch / "python",
        scratch / "rank.py",
    )  # short, without spaces: mpirun splits the agent at spaces
    for link, target in ((python, Path(sys.executable)), (wrapper, Path(__file__).with_name("rank.py"))):
        if not link.is_symlink():
            link.symlink_to(target)
    memory = reaper.shared_memory(plan.uid)
    if os.access(memory.parent, os.W_OK):
        memory.mkdir(mode=0o700, exist_ok=True)
    else:
        memory = scratch
    return {
        "OMPI_MCA_btl_vader_backing_directory": str(memory),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_orte_default_hostfile": str(hostfile),
        "OMPI_MCA_orte_fork_agent": f"{python} -I -S {wrapper}",
        "OMPI_MCA_orte_tmpdir_base": str(scratch),
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "SHIPWAY_JOB_FOLDER": str(folder.path),
        "SHIPWAY_RANK_ENV": json.dumps(plan.mpi.worker_env),
    }
