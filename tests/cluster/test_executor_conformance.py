"""The executors' conformance suite, played by the kubernetes executor on the bed."""

from __future__ import annotations

import pytest

from tests.fixtures.kubernetes_rig import KubernetesRig

pytest.register_assert_rewrite(
    "tests.conformance.test_executor_adoption",
    "tests.conformance.test_executor_replicas",
    "tests.conformance.test_executor_rules",
)

from tests.conformance.test_executor_adoption import *  # noqa: E402, F403
from tests.conformance.test_executor_replicas import *  # noqa: E402, F403
from tests.conformance.test_executor_rules import *  # noqa: E402, F403


@pytest.fixture
def rig(request: pytest.FixtureRequest, kube_rig: KubernetesRig) -> KubernetesRig:
    """The rig of tests/conformance, on the bed."""
    marker = request.node.get_closest_marker("process_only")
    if marker is not None:
        pytest.skip(marker.args[0])
    return kube_rig
