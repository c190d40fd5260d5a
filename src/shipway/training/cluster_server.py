"""A worker or ps of strategy `parameter_server`: it does what the chief's graph asks of it, until the chief is gone.

It ends with its chief and is started again with it: nothing of an earlier start, no variable and no half a step, is
left in its memory. Imports TensorFlow.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import tensorflow as tf

from shipway.errors import RetryableError, ShipwayError
from shipway.storage import open_folder
from shipway.training.answering import LOOK_S, Verdict, Watch, ask

DONE = "model/manifest.json"  # what a chief writes last
LINGER_S = 60.0  # after it has: whoever runs the job ends the others, and a chief that died in that moment comes back


def serve(cluster: Mapping[str, Sequence[str]], role: str, index: int, output_uri: str | None, limit_s: float) -> None:
    """Serves until the chief has published, or else raises.

    Args:
        cluster: Addresses by role.
        role, index: Of this replica.
        output_uri: `jobs/<job>`, where the chief publishes.
        limit_s: How long the chief may say nothing.

    Raises:
        RetryableError: the chief went away, did not come, or is frozen.
    """
    threads = tf.config.threading
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads.get_intra_op_parallelism_threads(),
        inter_op_parallelism_threads=threads.get_inter_op_parallelism_threads(),
    )
    server = tf.distribute.Server(tf.train.ClusterSpec(cluster), role, index, protocol="grpc", config=config)
    print(f"{role}-{index} serves at {server.target}", flush=True)
    chief = cluster["chief"][0]
    while True:
        verdict = _until_lost(chief, limit_s)
        if verdict == "gone" and _is_published(output_uri):
            if _comes_back(chief):
                continue
            return
        told = "went away" if verdict == "gone" else f"did not answer for {limit_s:g} s"
        raise RetryableError(f"the chief ({chief}) {told}; ending to be started again")


def _until_lost(chief: str, limit_s: float) -> Verdict:
    watch = Watch(limit_s, time.monotonic())
    while (verdict := watch.judge(ask(chief), time.monotonic())) == "stay":
        time.sleep(LOOK_S)
    return verdict


def _comes_back(chief: str) -> bool:
    deadline = time.monotonic() + LINGER_S
    while time.monotonic() < deadline:
        if ask(chief) == "here":
            return True
        time.sleep(LOOK_S)
    return False


def _is_published(output_uri: str | None) -> bool:
    if output_uri is None:
        return False
    try:
        return open_folder(output_uri).head(DONE) is not None
    except ShipwayError:
        return False  # another start costs less than a chief that waits for nobody
