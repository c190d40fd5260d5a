"""How far the running step is: a line in its log now and then, its record, a file in the folder of a run here.

`tell(120, 500, "rows")` may be called as often as one likes, and where no step runs: what it costs is bounded here.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from shipway import private
from shipway.artifacts import StepProgress
from shipway.local.folder import RunFolder
from shipway.pace import Pace

if TYPE_CHECKING:
    from shipway.steps import Step

LOG_EVERY_S = 10.0  # and a twentieth of the time so far: the log of a long step stays readable
KEEP_EVERY_S = 5.0  # in the store
FILE_EVERY_S = 1.0  # on this machine


def tell(done: float, total: float | None = None, unit: str = "", note: str = "", *, key: str = "") -> None:
    """Says how far the step is that runs in this process; nothing where none does.

    Args:
        done: So much, what an earlier attempt did among it.
        total: Of so much; None where nobody knows.
        unit: Of what, in the plural: `steps`, `rows`, `trials`.
        note: Rates and figures, in a few words.
        key: What is counted, where a step counts one thing after another: each has a pace of its own.
    """
    from shipway.steps import at_work

    if (step := at_work()) is not None:
        _tellers.setdefault(step, Teller(step)).tell(done, total, unit, note, key)


class Teller:
    """Tells of one step.

    Args:
        step: Its record is given the progress, and kept while the step runs.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._whole = getattr(step, "whole", step)
        self._folder = RunFolder(step.context.home, step.context.run)
        self._pace, self._key = Pace(), ""
        self._began = self._logged = time.monotonic()
        self._filed = -FILE_EVERY_S
        self._is_new = threading.Event()
        self._keeper: threading.Thread | None = None

    def tell(self, done: float, total: float | None, unit: str, note: str, key: str) -> None:
        """See `tell`."""
        if key != self._key:
            self._pace, self._key = Pace(), key
        self._pace.add(done)
        left_s = self._pace.left_s(done, total) if total else None
        self._step.record.progress = progress = StepProgress(
            done=done, total=total, unit=unit, note=note, at=round(time.time(), 3),
            left_s=None if left_s is None else round(left_s, 1),
        )  # fmt: skip
        now = time.monotonic()
        if now - self._logged >= max(LOG_EVERY_S, (now - self._began) / 20):
            self._logged = now
            print(f"progress: {progress.text}", flush=True)
        if now - self._filed >= FILE_EVERY_S:
            self._filed = now
            self._file(progress)
        if now - self._began >= KEEP_EVERY_S:  # of a step of a few seconds the record's end says all
            self._is_new.set()
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep, daemon=True)
                self._keeper.start()

    def _file(self, progress: StepProgress) -> None:
        if not self._folder.path.is_dir():
            return  # a step on a cluster, or one that was started by hand
        title = self._step.record.title if self._step is not self._whole else ""
        note = ", ".join(filter(None, (title, progress.note)))
        try:
            path = self._folder.progress_file(self._whole.name)
            private.write_text(path, progress.model_copy(update={"note": note}).model_dump_json())
        except OSError:
            return  # a full disk is told by who needs it

    def _keep(self) -> None:
        """The record in the store: by a thread, since a store that is away must not hold up the work."""
        while True:
            self._is_new.wait()
            self._is_new.clear()
            if self._whole.record.state != "Running":
                return
            self._whole.save()
            time.sleep(KEEP_EVERY_S)


_tellers: WeakKeyDictionary[Step, Teller] = WeakKeyDictionary()
