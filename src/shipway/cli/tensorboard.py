"""`tensorboard RUN`: a run's curves in TensorBoard, while it goes on and after."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import say
from shipway.cli.options import Key, Kfp, Local

if TYPE_CHECKING:
    from pathlib import Path

    from shipway.runs.boards import Boards

FETCH_S = 5.0
START_S = 60.0
GRACE_S = 5.0
_ADDRESS = re.compile(r"http://[\w.\[\]:-]+/?")


def tensorboard(
    run: Key = "last",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0 for one that is free.")] = 0,
    kfp: Kfp = None,
    local: Local = False,
) -> None:
    """Show a run's curves in TensorBoard, also while it goes on; Ctrl-C ends it."""
    from shipway import private
    from shipway.context import Context
    from shipway.errors import UserError
    from shipway.runs import load_run
    from shipway.runs.boards import Boards

    loaded = load_run(run, here=local, kfp=kfp)
    if find_spec("tensorboard") is None:
        raise UserError("not installed here", field="TensorBoard", fix="pip install 'shipway[tensorboard]'")
    folder = Context.current().home / "tensorboard" / loaded.key
    boards = Boards(loaded, folder)
    private.make_folder(folder)
    files = boards.fetch()
    if not files:
        say(f"Run {loaded.key} has written nothing yet; TensorBoard shows it as it comes.", style="dim")
    signal.signal(signal.SIGTERM, _interrupt)
    server = Server(folder, port)
    try:
        say(f"TensorBoard: {server.address()}")
        say(f"Files: {folder}. Ctrl-C ends it.", style="dim")
        _keep_up(boards, server)
    finally:
        server.end()


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _keep_up(boards: Boards, server: Server) -> None:
    """Fetches what is new until TensorBoard ends or is ended.

    Raises:
        ShipwayError: it ended by itself.
    """
    from shipway.errors import ShipwayError

    is_last = False
    while server.process.poll() is None:
        time.sleep(FETCH_S)
        if is_last:
            continue
        is_last = boards.run.refresh().has_ended  # looked at first: its last files are fetched behind its end
        try:
            boards.fetch()
        except ShipwayError as error:
            say(f"Not up to date: {error}", style="yellow")
    raise server.died()


class Server:
    """TensorBoard as a child, on this machine's loopback alone.

    Args:
        folder: What it shows.
        port: 0 for any that is free.
    """

    def __init__(self, folder: Path, port: int) -> None:
        from shipway import parents

        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--host", "127.0.0.1"]
        self.process = subprocess.Popen(
            [*command, "--port", str(port), "--reload_interval", str(int(FETCH_S))],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
            start_new_session=True, preexec_fn=parents.dies_with(os.getpid(), signal.SIGTERM),
        )  # fmt: skip
        self._lines: list[str] = []
        self._address = ""
        self._is_told = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def address(self) -> str:
        """Where it answers.

        Raises:
            ShipwayError: it did not start.
        """
        if not self._is_told.wait(START_S) or not self._address:
            raise self.died()
        return self._address

    def died(self) -> Exception:
        """Why it is not there, in its own last words."""
        from shipway.errors import ShipwayError

        words = next((line for line in reversed(self._lines) if line.strip()), "it said nothing")
        return ShipwayError(f"TensorBoard ended (exit code {self.process.poll()}): {words.strip()}")

    def end(self) -> None:
        """Ends it and what it started."""
        for number, wait_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(wait_s)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines = [*self._lines, line][-50:]
            if not self._address and "TensorBoard" in line and (found := _ADDRESS.search(line)):
                self._address = found[0]
                self._is_told.set()
        self.process.wait()
        self._is_told.set()
