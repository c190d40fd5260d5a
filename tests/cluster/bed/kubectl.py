"""kubectl with the bed's admin."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.cluster.bed import settings
from tests.cluster.bed.errors import BedError

APPLY_S = 60.0


class Kubectl:
    """Runs the kubectl that was built with the bed."""

    def __init__(self, binaries: Path) -> None:
        self._binary = binaries / "kubectl"

    def __call__(self, *arguments: str, document: object = None, text: str = "") -> str:
        """What kubectl prints.

        Args:
            arguments: As typed.
            document: Given on stdin as JSON.
            text: Given on stdin as it is.

        Raises:
            BedError: it fails; with what it says.
        """
        result = self._run(*arguments, stdin=json.dumps(document) if document is not None else text)
        if result.returncode != 0:
            raise BedError(f"kubectl {' '.join(arguments)}: {result.stderr.strip()[-2000:]}")
        return result.stdout

    def succeeds(self, *arguments: str, document: object = None) -> bool:
        """Whether it ends with exit code 0."""
        return self._run(*arguments, stdin=json.dumps(document)).returncode == 0

    def get(self, *arguments: str) -> Any:
        """An object, or a list of them, as JSON."""
        return json.loads(self("get", "-o", "json", *arguments))

    def apply(self, *, document: object = None, text: str = "", folder: Path | None = None) -> None:
        """Server-side: the operators' CRDs are larger than the annotation of a client-side apply may be.

        Tried again for a minute: a webhook, or a CRD that the same folder brings, may not answer yet. What failed
        meanwhile is in `logs/apply.log`.
        """
        if folder:
            text = self("kustomize", str(folder))
        deadline = time.monotonic() + APPLY_S
        while True:
            try:
                self("apply", "--server-side", "--force-conflicts", "-f", "-", document=document, text=text)
                return
            except BedError as error:
                with open(settings.state() / "logs" / "apply.log", "a") as log:
                    log.write(f"{time.strftime('%T')} {error}\n")
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def _run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [str(self._binary), f"--kubeconfig={settings.kubeconfig()}", *arguments]
        environment = {**os.environ, "HOME": str(settings.state())}  # its discovery cache goes with the bed
        return subprocess.run(command, input=stdin, env=environment, capture_output=True, text=True, check=False)
