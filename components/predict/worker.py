"""The predictor's process: `python -m shipway.components.predict.worker --model_name NAME --model_uri URI ...`.

Fetches a model by its manifest, verifies every hash, loads it, warms it up with texts of real lengths, and only then
accepts. On this machine it shares a listening socket with the version before it (`SHIPWAY_LISTEN_FD`).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from shipway.termination import heed_sigterm

heed_sigterm()  # a pod may be deleted while its model is loaded

import numpy as np
import orjson
from numpy.typing import NDArray

from shipway.artifacts import ModelManifest
from shipway.components.predict import v2
from shipway.components.predict.connection import SMALL_BODY, Refused
from shipway.components.predict.core import BadRequest, Limits, Query, answers, read_v1, top
from shipway.components.predict.gate import Payload
from shipway.components.predict.json_size import is_within
from shipway.components.predict.light import light_kserve
from shipway.errors import CorruptArtifact, ShipwayError, UserError
from shipway.executors.process.service_control import CONTROL, LISTEN_FD, serve_in_thread
from shipway.scoring import ModelSession

with light_kserve():
    import kserve
    from kserve.model_server import parser as kserve_parser

INLINE_TEXTS = 4  # so few are answered in the loop: handing them to a thread costs more than the model does
BATCH_TEXTS = 64  # of requests that arrived together
TOKENS_A_TEXT = 32  # strings, brackets and commas that a text in an object with a few other fields may take
MAX_WAITING = 32
THREAD_TEXTS = 4096  # that wait in large requests; a single one may be larger
WARM_UP_WORDS = (1, 8, 64)
WARM_UP_TEXTS = (1, 2, 16)


class TextClassifier(kserve.Model):  # type: ignore[misc]
    """Texts in, labels and probabilities out, over V1 and V2.

    Args:
        name: In the URL's path.
        session: The loaded model.
        threshold: Of the top probability; below it the answer is "none of these". None: never.
        version: The registry's.
        limits: Of one request.
    """

    def __init__(
        self, name: str, session: ModelSession, threshold: float | None, version: str, limits: Limits | None = None
    ) -> None:
        super().__init__(name, return_response_headers=True)
        self.session = session
        self.threshold = threshold
        self.version = version
        self.limits = limits or Limits()
        self._waiting: list[tuple[list[str], asyncio.Future[NDArray[np.float32]]]] = []
        self._texts_in_thread = 0
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="predict")

    def load(self) -> bool:
        """Warms up: the first call of a model costs up to 0.3 s, and of some runtimes again for each new shape."""
        for words in WARM_UP_WORDS:
            text = " ".join(f"{label} word" for label in (self.session.labels * words)[:words])
            for n in WARM_UP_TEXTS:
                self._probabilities([text] * n)
        self.ready = True
        return True

    async def preprocess(self, payload: Payload, headers: dict[str, str] | None = None) -> Query:
        """The query of a body. A large one is read in the thread, so that others need not wait."""
        if len(payload.body) <= SMALL_BODY:
            return self._read(payload)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, payload)

    def _read(self, payload: Payload) -> Query:
        text = payload.body[: payload.json_bytes]
        most = self.limits.max_instances
        if len(text) > SMALL_BODY and not is_within(text, most * TOKENS_A_TEXT + SMALL_BODY):
            raise Refused(413, f"the body holds far more values than {most} texts need; send fewer at a time")
        try:
            body = orjson.loads(text)
        except ValueError as error:  # its own text may quote the body
            raise BadRequest(f"the body is not JSON in UTF-8: {getattr(error, 'msg', 'invalid')}") from None
        if payload.is_v2:
            served = {"model_name": self.name, "model_version": self.version}
            return v2.read(body, payload.body[payload.json_bytes :], self.limits, served)
        return read_v1(body, self.limits)

    async def predict(
        self, query: Query, headers: dict[str, str] | None = None, _response_headers: dict[str, str] | None = None
    ) -> tuple[Query, NDArray[np.float32]]:
        """Many texts in a thread, so that others need not wait; few together with those that arrived meanwhile.

        Nobody waits for company: a batch is whatever one turn of the event loop brought. Encoding sixteen texts costs
        little more than encoding one.
        """
        loop = asyncio.get_running_loop()
        if (n := len(query.texts)) > INLINE_TEXTS:
            if self._texts_in_thread and self._texts_in_thread + n > THREAD_TEXTS:
                raise Refused(
                    503, f"{self._texts_in_thread} texts are waiting already; try again later", retry_after="1"
                )
            self._texts_in_thread += n
            try:
                return query, await loop.run_in_executor(self._threads, self.session.predict, query.texts)
            finally:
                self._texts_in_thread -= n
        if not self._waiting:
            loop.call_soon(self._answer_waiting)
        future: asyncio.Future[NDArray[np.float32]] = loop.create_future()
        self._waiting.append((query.texts, future))
        return query, await future

    async def postprocess(
        self,
        result: tuple[Query, NDArray[np.float32]],
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> bytes:
        """The answer's bytes; their type and what else a client must know goes into `response_headers`."""
        work = partial(self._write, *result)
        if len(result[0].texts) <= INLINE_TEXTS:
            body, told = work()
        else:
            body, told = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        if response_headers is not None:
            response_headers.update(told)
        return body

    def _write(self, query: Query, probabilities: NDArray[np.float32]) -> tuple[bytes, dict[str, str]]:
        if isinstance(query, v2.V2Query):
            return v2.write(query, self.name, self.version, self._tensors(query, probabilities))
        answer = {
            "predictions": answers(probabilities, self.session.labels, self.threshold, query.top_k),
            "model_name": self.name,
            "model_version": self.version,
        }
        # float32 as its shortest digits
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), {"content-type": "application/json"}

    def get_input_types(self) -> list[dict[str, Any]]:
        return [{"name": "text", "datatype": "BYTES", "shape": [-1]}]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "out_of_scope", "datatype": "BOOL", "shape": [-1]},
            {"name": "probability", "datatype": "FP32", "shape": [-1]},
            {"name": "labels", "datatype": "BYTES", "shape": [-1, -1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, -1]},
        ]

    def _answer_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        while waiting:
            texts: list[str] = []
            batch = []
            while waiting and len(texts) < BATCH_TEXTS:
                batch.append(waiting.pop())
                texts += batch[-1][0]
            try:
                rows = self._probabilities(texts)
                for some, future in batch:
                    if not future.done():
                        future.set_result(rows[: len(some)])
                    rows = rows[len(some) :]
            except Exception as error:  # noqa: BLE001 - one bad text must not fail the requests beside it
                for some, future in batch:
                    self._answer_alone(some, future, error if len(batch) == 1 else None)

    def _answer_alone(
        self, texts: list[str], future: asyncio.Future[NDArray[np.float32]], known: Exception | None
    ) -> None:
        """Gives a request its own answer, or its own error; one that was given up meanwhile gets neither."""
        if future.done():
            return
        if known is not None:
            future.set_exception(known)
            return
        try:
            future.set_result(self._probabilities(texts))
        except Exception as error:  # noqa: BLE001 - becomes this request's answer
            future.set_exception(error)

    def _probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.session.infer(self.session.encode(texts))

    def _tensors(self, query: Query, probabilities: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """BYTES cannot be null, so "none of these" is an empty label beside `out_of_scope`."""
        ids = top(probabilities, query.top_k)
        values = np.take_along_axis(probabilities, ids, axis=1)
        labels = np.array(self.session.labels, dtype=object)
        is_out = np.zeros(len(values), bool) if self.threshold is None else values[:, 0] < self.threshold
        return {
            "label": np.where(is_out, "", labels[ids[:, 0]]),
            "out_of_scope": is_out,
            "probability": values[:, 0],
            "labels": labels[ids],
            "probabilities": values,
        }


def read_manifest(uri: str, digest: str) -> ModelManifest:
    """The model at `uri`.

    Raises:
        CorruptArtifact: another model lies there than the one that was registered (`digest`), or it names files of
            another place.
        NotFound: nothing lies there.
    """
    from shipway.scoring import stored_manifest

    manifest = stored_manifest(uri)
    if manifest.digest != digest:
        raise CorruptArtifact(
            f"model at {uri}: its digest is {manifest.digest}, the registered version's is {digest}; deploy again"
        )
    return manifest


def main(arguments: list[str] | None = None) -> int:
    """Serves one model until SIGTERM.

    Exit codes: those of `shipway.errors`; 0 after a drain.
    """
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # KServe's choice, not the reader's
    for name in ("kserve", "kserve.trace", "uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.ERROR)  # what clients did wrong is counted, not told one by one
    try:
        listener = _listener(given.http_port)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        print(f"error: --http_port {given.http_port}: {why}; give another", file=sys.stderr, flush=True)
        return UserError.exit_code
    state = {"state": "loading", "pid": os.getpid(), "version": given.model_version}
    if path := os.environ.get(CONTROL):
        serve_in_thread(Path(path), lambda: state, listener.fileno())
    try:
        manifest = read_manifest(given.model_uri, given.model_digest)
        session = ModelSession.open(manifest, threads=given.threads)
        limits = Limits(given.max_instances, given.max_text_chars)
        model = TextClassifier(given.model_name, session, given.threshold, given.model_version, limits)
        model.load()
    except ShipwayError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    logging.info("model %s version %s (%s) is warm", given.model_name, given.model_version, manifest.digest)

    def on_state(now: str) -> None:
        state["state"] = now
        logging.info("%s on port %s", now, given.http_port if not path else "shared")

    from shipway.components.predict.server import PredictorServer

    PredictorServer(listener, max_waiting=given.max_waiting, on_state=on_state, grace_s=given.grace_s).start([model])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(parents=[kserve_parser], description="Serves a text classifier.")
    parser.add_argument("--model_uri", required=True, help="URI of the model's folder, where manifest.json lies")
    parser.add_argument("--model_digest", required=True, help="digest that the model at that URI must have")
    parser.add_argument("--model_version", default="", help="version in the registry, told in every answer")
    parser.add_argument("--threshold", type=float, help='top probability below which the answer is "none of these"')
    parser.add_argument("--max_instances", type=int, default=Limits.max_instances)
    parser.add_argument("--max_text_chars", type=int, default=Limits.max_text_chars)
    parser.add_argument(
        "--max_waiting",
        type=int,
        default=MAX_WAITING,
        help="requests that wait; then 503 (at most 8 of them for a second after each refusal)",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of one inference")
    parser.add_argument("--grace_s", type=float, default=25.0, help="how long requests may take after SIGTERM")
    return parser


def _listener(port: int) -> socket.socket:
    """The inherited socket; else one of our own, on 127.0.0.1 unless SHIPWAY_BIND says otherwise (the image does)."""
    if given := os.environ.get(LISTEN_FD):
        return socket.socket(fileno=int(given))
    listener = socket.create_server((os.environ.get("SHIPWAY_BIND", "127.0.0.1"), port), backlog=1024)
    listener.setblocking(False)
    return listener


if __name__ == "__main__":
    sys.exit(main())
