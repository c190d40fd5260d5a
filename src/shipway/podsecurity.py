"""What Pod Security's level `restricted` asks of a pod, and the writable folders that a read-only root needs.

Source: the Pod Security Standards of Kubernetes, level restricted. No user id is set: the image's own, which must be a
number other than 0, is what the kubelet checks, and OpenShift gives each namespace ids of its own.
"""

from __future__ import annotations

from typing import Any, Literal

PodSecurity = Literal["restricted", "unset"]
DESCRIPTION = (
    "restricted: no root, no capability, and a read-only root in the package's own images; "
    "unset: as image and namespace have it"
)

# All that our images ever write to (docs/images.md); an emptyDir on each lets the root stay read-only.
WRITABLE = {"tmp": "/tmp", "home": "/home/shipway"}
# What the kubelet says of an image that its pod's runAsNonRoot refuses, and what can be done.
REFUSED = "runAsNonRoot"
ADVICE = "give the image a numeric USER that is not 0, or set pod_security=unset in the training's or endpoint's spec"


def secure(pod: dict[str, Any], level: PodSecurity, *, is_our_image: bool) -> None:
    """Makes a pod spec (or a predictor's, which holds one) admissible at a level, in place.

    Args:
        pod: With `containers`.
        level: `unset` leaves it as it is: an image that runs as root, or a namespace with a policy of its own.
        is_our_image: Another image may write anywhere, so its root stays writable; `restricted` does not ask for more.
    """
    if level == "unset":
        return
    pod["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for container in pod["containers"]:
        context: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        if is_our_image:
            context["readOnlyRootFilesystem"] = True
            container["volumeMounts"] = [{"name": name, "mountPath": path} for name, path in WRITABLE.items()]
        container["securityContext"] = context
    if is_our_image:
        pod["volumes"] = [{"name": name, "emptyDir": {}} for name in WRITABLE]


def leave_to_containers(pod: dict[str, Any]) -> None:
    """Asks our own containers alone not to run as root, in place: what an operator adds to the pod may have to.

    The training operator gives the launcher of an MPIJob v1 an init container that brings kubectl, whose image runs as
    root and which names no security context: asked of the whole pod, the kubelet would never start it.
    """
    asked = pod.get("securityContext", {}).pop("runAsNonRoot", None)
    if asked is not None:
        for container in pod["containers"]:
            container["securityContext"]["runAsNonRoot"] = asked
