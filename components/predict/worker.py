"""The predictor's process: `python -m shipway.components.predict.worker --model_name NAME --model_uri URI ...`.

Fetches a model by its manifest, verifies every hash, loads it, warms it up with instances of real sizes, and only then
accepts. On this machine it shares a listening socket with the version before it (`SHIPWAY_LISTEN_FD`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import socket
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from shipway.termination import heed_sigterm

heed_sigterm()  # a pod may be deleted while its model is loaded

import orjson
from pydantic import BaseModel

from shipway.artifacts import ModelManifest
from shipway.code.given import use_given
from shipway.components.predict import v2
from shipway.components.predict.batches import Batches
from shipway.components.predict.connection import SMALL_BODY, Refused
from shipway.components.predict.core import MAX_INSTANCES, Query, Reader, read_v1
from shipway.components.predict.gate import Payload
from shipway.components.predict.json_size import is_within
from shipway.components.predict.light import light_kserve
from shipway.components.predict.room import SHORT
from shipway.errors import CorruptArtifact, InvalidSpec, ShipwayError, UserError
from shipway.executors.process.service_control import CONTROL, LISTEN_FD, serve_in_thread
from shipway.inputs import BadRequest
from shipway.inputs.base import TakesLong
from shipway.recipes.arrays import Columns
from shipway.recipes.base import EncodesLong
from shipway.scoring import ModelSession
from shipway.specs import parse

with light_kserve():
    import kserve
    from kserve.model_server import parser as kserve_parser

INLINE = 4  # so few instances are answered in the loop: handing them to a thread costs more than the model does
MAX_WAITING = 32
THREAD_INSTANCES = 4096  # that wait in large requests; a single one may be larger
WARM_UP = (1, 2, 16)  # instances


class Predictor(kserve.Model):  # type: ignore[misc]
    """Instances of the model's input in, answers of its task out, over V1 and V2.

    Args:
        name: In the URL's path.
        session: The loaded model.
        settings: Of the answers, the task's `Settings`.
        version: The registry's.
        reader: What one request may hold; default as `Reader` has it, with the input's own limits.
    """

    def __init__(
        self, name: str, session: ModelSession, settings: BaseModel, version: str, reader: Reader | None = None
    ) -> None:
        super().__init__(name, return_response_headers=True)
        self.session = session
        self.settings = settings
        self.version = version
        self.reader = reader or Reader(session.kind, session.task.answers, session.kind.Limits())
        encoder = session.encoder
        self._batches = Batches(session.infer, isinstance(encoder, EncodesLong) and encoder.encodes_long)
        self._in_thread = 0  # instances
        self._takes_long = isinstance(session.kind, TakesLong)
        threads = session.kind.threads if isinstance(session.kind, TakesLong) else 1
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")

    def load(self) -> bool:
        """Warms up: the first call of a model costs up to 0.3 s, and of some runtimes again for each new shape."""
        for value in self.session.warm_up():
            for n in WARM_UP:
                self.session.infer([value] * n)
        self.ready = True
        return True

    async def preprocess(self, payload: Payload, headers: dict[str, str] | None = None) -> Query:
        """The query of a body. A large one, or one that takes long, is read in a thread: others need not wait."""
        if len(payload.body) <= SMALL_BODY and not self._takes_long:
            return self._read(payload)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, payload)

    def _read(self, payload: Payload) -> Query:
        text = payload.body[: payload.json_bytes]
        if len(text) > SMALL_BODY and not is_within(text, self.reader.json_tokens + SMALL_BODY):
            most = self.reader.max_instances
            raise Refused(413, f"the body holds far more values than {most} instances need; send fewer at a time")
        try:
            body = orjson.loads(text)
        except ValueError as error:  # its own text may quote the body
            raise BadRequest(f"the body is not JSON in UTF-8: {getattr(error, 'msg', 'invalid')}") from None
        if payload.is_v2:
            served = {"model_name": self.name, "model_version": self.version}
            return v2.read(body, payload.body[payload.json_bytes :], self.reader, served)
        return read_v1(body, self.reader)

    async def predict(
        self, query: Query, headers: dict[str, str] | None = None, _response_headers: dict[str, str] | None = None
    ) -> tuple[Query, Columns]:
        """Many instances in a thread, so that others need not wait; few together with those that arrived meanwhile.

        Encoding sixteen texts costs little more than encoding one.
        """
        if (n := len(query.values)) > INLINE or self._takes_long:
            if self._in_thread and self._in_thread + n > THREAD_INSTANCES:
                raise Refused(503, f"{self._in_thread} instances wait already; try again later", retry_after="1")
            self._in_thread += n
            try:
                loop = asyncio.get_running_loop()
                return query, await loop.run_in_executor(self._threads, self.session.predict, query.values)
            finally:
                self._in_thread -= n
        return query, await self._batches.answer(query.values)

    async def postprocess(
        self,
        result: tuple[Query, Columns],
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> bytes:
        """The answer's bytes; their type and what else a client must know goes into `response_headers`."""
        work = partial(self._write, *result)
        if len(result[0].values) <= INLINE:
            body, told = work()
        else:
            body, told = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        if response_headers is not None:
            response_headers.update(told)
        return body

    def _write(self, query: Query, columns: Columns) -> tuple[bytes, dict[str, str]]:
        answers = self.session.answers
        if isinstance(query, v2.V2Query):
            tensors = answers.outputs(columns, query.params, self.settings)
            return v2.write(query, self.name, self.version, self.reader.answers.tensors, tensors)
        answer = {
            "predictions": answers.documents(columns, query.params, self.settings),
            "model_name": self.name,
            "model_version": self.version,
        }
        # float32 as its shortest digits
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), {"content-type": "application/json"}

    def get_input_types(self) -> list[dict[str, Any]]:
        name, datatype, shape = self.reader.kind.tensor
        return [{"name": name, "datatype": datatype, "shape": shape}]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "datatype": datatype, "shape": shape}
            for name, (datatype, shape) in self.reader.answers.tensors.items()
        ]


def open_predictor(given: argparse.Namespace) -> Predictor:
    """The predictor that the arguments describe, not warmed up yet.

    Raises:
        ShipwayError: the model or a setting is not in order.
    """
    use_given()
    session = ModelSession.open(
        read_manifest(given.model_uri, given.model_digest, given.variant_digest), threads=given.threads
    )
    answers, kind = session.task.answers, session.kind
    settings = _section(answers.Settings, given.answers, "--answers")
    reader = Reader(kind, answers, _section(kind.Limits, given.input, "--input"), given.max_instances)
    return Predictor(given.model_name, session, settings, given.model_version, reader)


def _section(model: type[BaseModel], given: str, option: str) -> BaseModel:
    """A section of the endpoint, as JSON: YAML would read 1e-05 as a text."""
    try:
        document = json.loads(given)
    except ValueError as error:
        raise InvalidSpec(f"not JSON: {error}", field=option) from None
    section: BaseModel = parse(model, document, option)
    return section


def read_manifest(uri: str, digest: str, variant: str) -> ModelManifest:
    """The model at `uri`.

    Raises:
        CorruptArtifact: another model lies there than the one that was registered (`digest`), it serves another variant
            than the one that was evaluated (`variant`, its digest), or it names files of another place.
        NotFound: nothing lies there.
    """
    from shipway.scoring import stored_manifest

    manifest = stored_manifest(uri)
    for what, given, pinned in (
        ("its digest", manifest.digest, digest),
        (f"the digest of its variant {manifest.serving}", manifest.served.digest, variant),
    ):
        if given != pinned:
            raise CorruptArtifact(
                f"model at {uri}: {what} is {given}, the registered version's is {pinned}; deploy again"
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
        model = open_predictor(given)
        model.load()
    except ShipwayError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    logging.info("model %s version %s (%s) is warm", given.model_name, given.model_version, given.model_digest)

    def on_state(now: str) -> None:
        state["state"] = now
        logging.info("%s on port %s", now, given.http_port if not path else "shared")

    from shipway.components.predict.server import PredictorServer

    PredictorServer(listener, max_waiting=given.max_waiting, on_state=on_state, grace_s=given.grace_s).start([model])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(parents=[kserve_parser], description="Serves a model.")
    parser.add_argument("--model_uri", required=True, help="URI of the model's folder, where manifest.json lies")
    parser.add_argument("--model_digest", required=True, help="digest that the model at that URI must have")
    parser.add_argument("--variant_digest", required=True, help="digest that the variant it serves must have")
    parser.add_argument("--model_version", default="", help="version in the registry, told in every answer")
    parser.add_argument("--answers", default="{}", help="settings of the answers, as the model's task has them (JSON)")
    parser.add_argument("--input", default="{}", help="limits of one instance, as the model's input has them (JSON)")
    parser.add_argument("--max_instances", type=int, default=MAX_INSTANCES, help="in one request")
    parser.add_argument(
        "--max_waiting",
        type=int,
        default=MAX_WAITING,
        help=f"requests that wait; then 503 (at most {SHORT} of them for a second after each refusal)",
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
