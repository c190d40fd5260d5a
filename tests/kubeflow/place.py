"""A real Kubeflow Pipelines as its user sees it: the `shipway` command, a kubeconfig, the address of the store.

The suite brings nothing into the cluster that a user would not: no Secret, no permission, no image.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shipway.executors.kubernetes.api import Api
from tests.fixtures.strangers_rows import write_rows

SHIPWAY = str(Path(sys.executable).with_name("shipway"))
KEPT = ("SHIPWAY_KFP", "SHIPWAY_STORE", "AWS_", "KUBECONFIG", "KUBERNETES_")
RUN_LABEL = "pipeline/runid"
LIMIT_S = 900.0


@dataclass
class Row:
    """A line of the table that the suite ends with."""

    what: str
    seconds: float
    pods: int | None = None
    goal: str = ""


@dataclass
class Place:
    """Where the tests run, and what they measured.

    Attributes:
        namespace: Of the runs' pods.
        folder: In which `shipway` is typed.
        mark: In the names of everything that the suite makes.
        images: Options of `publish` that say which images run.
    """

    namespace: str
    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:6])
    images: Sequence[str] = ()
    rows: list[Row] = field(default_factory=list)
    api: Api = field(default_factory=Api)

    @property
    def model(self) -> str:
        """Name of the model that the suite makes."""
        return f"kft-{self.mark}"

    @property
    def version(self) -> str:
        """Of the pipelines that the suite publishes, beside whatever is published."""
        return f"0.0.0-kft-{self.mark}"

    def shipway(
        self, *arguments: str, code: int = 0, extra: dict[str, str] | None = None, timeout_s: float = LIMIT_S
    ) -> subprocess.CompletedProcess[str]:
        """The command, in a home of its own; its exit code must be `code`."""
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("SHIPWAY_", "AWS_", "KUBE")) or key.startswith(KEPT)
        }
        environment |= {"NO_COLOR": "1", "COLUMNS": "200", **(extra or {})}
        done = subprocess.run(
            [SHIPWAY, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=timeout_s
        )
        told = (
            f"shipway {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        )
        assert done.returncode == code, told
        assert "Traceback" not in done.stdout + done.stderr, told
        return done

    def json(self, *arguments: str, **options: Any) -> Any:
        """What a command prints with `--json`."""
        return json.loads(self.shipway(*arguments, "--json", **options).stdout)

    def run(self, key: str) -> dict[str, Any]:
        """A run's document."""
        found: dict[str, Any] = self.json("runs", "show", key)
        return found

    def submit(self, pipeline: str, *params: str, options: Sequence[str] = ()) -> str:
        """Id of a run that was started."""
        return str(self.json("submit", pipeline, *options, "--param", *params)["run"])

    def pods(self, run: str) -> list[dict[str, Any]]:
        """Pods of a run's steps and drivers; those of what they launch are not among them."""
        found = self.api.get(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=f"{RUN_LABEL}={run}")
        return list(found["items"])

    def jobs(self, run: str, plural: str = "tfjobs") -> list[dict[str, Any]]:
        """Training jobs of a run."""
        path = f"/apis/kubeflow.org/v1/namespaces/{self.namespace}/{plural}"
        return list(self.api.get(path, labelSelector=f"shipway.dev/run={run}")["items"])

    def workflow(self, run: str) -> dict[str, Any] | None:
        """The run's Workflow; None once it is collected."""
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{self.namespace}/workflows"
        return next(iter(self.api.get(path, labelSelector=f"{RUN_LABEL}={run}")["items"]), None)

    @contextmanager
    def measured(self, what: str, goal: str = "") -> Iterator[Row]:
        """Adds a line to the table; the pods are the caller's to count."""
        row, began = Row(what, 0.0, goal=goal), time.monotonic()
        yield row
        row.seconds = round(time.monotonic() - began, 1)
        self.rows.append(row)

    def store_rows(self, name: str) -> str:
        """Puts rows of three intents where the cluster sees them; their address."""
        write_rows(self.folder / "rows.csv")
        key = f"kubeflow-tests/{self.mark}/{name}"
        self.shipway("store", "cp", "rows.csv", key)
        return f"{os.environ['SHIPWAY_STORE'].rstrip('/')}/{key}"


def until(condition: Callable[[], Any], what: str, limit_s: float = 300.0) -> Any:
    """The condition's value once it is true."""
    end = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: not within {limit_s:g} s"
        time.sleep(0.3)
    return found


def table(rows: Sequence[Row]) -> list[str]:
    """The table's lines, and the same as one line of JSON."""
    width = max((len(row.what) for row in rows), default=0)
    lines = [f"{'what':<{width}}  seconds  pods  goal"]
    lines += [f"{row.what:<{width}}  {row.seconds:7.1f}  {row.pods or '':>4}  {row.goal}" for row in rows]
    return [*lines, json.dumps({row.what: {"seconds": row.seconds, "pods": row.pods} for row in rows})]
