"""The training operator, KServe, the MPI operator and KWOK, from the manifests that their modules bring."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Literal

from tests.cluster.bed import daemons, images, settings
from tests.cluster.bed.build import Built
from tests.cluster.bed.kubectl import Kubectl

Mpi = Literal["v1", "v2beta1"]
ROLLOUT = "--timeout=180s"
MPI_CRD = "mpijobs.kubeflow.org"
OTHER_KINDS = ("tfjob", "pytorchjob", "xgboostjob", "paddlejob", "mxjob")
FAKE = "kwok.x-k8s.io/node"
PROBE_AT_ONCE = [
    {"op": "replace", "path": "/spec/template/spec/containers/0/readinessProbe/initialDelaySeconds", "value": 1},
    {"op": "replace", "path": "/spec/template/spec/containers/0/readinessProbe/periodSeconds", "value": 1},
]
NEVER_PULL = {"op": "add", "path": "/spec/template/spec/containers/0/imagePullPolicy", "value": "Never"}


class Operators:
    """Installs operators into a running control plane."""

    def __init__(self, built: Built) -> None:
        self._built = built
        self._kubectl = Kubectl(built.binaries)

    def install_training(self) -> None:
        """The training operator: TFJob, MPIJob v1 and the rest of its kinds."""
        delivery = {"op": "add", "path": "/spec/template/spec/containers/0/args"}
        patches = [
            {**delivery, "value": [f"--mpi-kubectl-delivery-image={images.KUBECTL_DELIVERY}"]},
            NEVER_PULL,
            *PROBE_AT_ONCE,
        ]
        name, tag = images.TRAINING_OPERATOR.rsplit(":", 1)
        overlay = self._overlay("training-operator", "manifests/overlays/bed", {
            "namespace": "kubeflow",
            "resources": ["../../base", "namespace.yaml"],
            "images": [{"name": "kubeflow/training-operator", "newName": name, "newTag": tag}],
            "secretGenerator": [{"name": "training-operator-webhook-cert",
                                 "options": {"disableNameSuffixHash": True}}],
            "patches": [{"target": {"kind": "Deployment"}, "patch": json.dumps(patches)}],
        })  # fmt: skip
        shutil.copy(overlay.parent / "standalone" / "namespace.yaml", overlay)
        self._kubectl.apply(folder=overlay)

    def wait_training(self) -> None:
        """Returns when TFJobs are taken."""
        self._kubectl("-n", "kubeflow", "rollout", "status", "deployment/training-operator", ROLLOUT)

    def install_kserve(self) -> None:
        """KServe in Standard mode: no Knative, no Istio, no cert-manager, no Ingress."""
        pki = settings.state() / "pki"
        self._kubectl.apply(document={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}})
        certificate = {
            name: base64.b64encode((pki / f"kserve-webhook.{end}").read_bytes()).decode()
            for name, end in (("tls.crt", "crt"), ("tls.key", "key"))
        }
        secret = {"name": "kserve-webhook-server-cert", "namespace": "kserve"}
        self._kubectl.apply(document={"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                                      "metadata": secret, "data": certificate})  # fmt: skip
        rendered = self._kubectl("kustomize", str(self._kserve_overlay()))
        # What upstream leaves to kustomize's replacements and to cert-manager.
        rendered = rendered.replace("$(webhookServiceName)", "kserve-webhook-server-service")
        rendered = rendered.replace("$(kserveNamespace)", "kserve")
        bundle = base64.b64encode((pki / "ca.crt").read_bytes()).decode()
        rendered = re.sub(r"^  clientConfig:$", rf"\g<0>\n    caBundle: {bundle}", rendered, flags=re.MULTILINE)
        self._kubectl.apply(text=rendered)

    def wait_kserve(self) -> None:
        """Returns when InferenceServices are taken."""
        self._kubectl("-n", "kserve", "rollout", "status", "deployment/kserve-controller-manager", ROLLOUT)

    def mpi(self) -> Mpi | None:
        """Which MPIJob the cluster serves, if any."""
        found = self._kubectl.get("crd", "--field-selector", f"metadata.name={MPI_CRD}")["items"]
        if not found:
            return None
        return "v2beta1" if found[0]["spec"]["versions"][0]["name"] == "v2beta1" else "v1"

    def use_mpi(self, version: Mpi) -> None:
        """Serves MPIJobs of this version: both have one CRD, so it is one or the other; MPIJobs that exist are lost."""
        if self.mpi() == version:
            return
        if version == "v1":
            self._kubectl("delete", "-k", str(self._mpi_overlay()), "--ignore-not-found", "--wait")
            self.install_training()
        else:
            # Or the training operator would ask for ever for a kind that is not there.
            kinds = [f"--enable-scheme={kind}" for kind in OTHER_KINDS]
            patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": kinds}]
            target = ("-n", "kubeflow", "patch", "deployment", "training-operator", "--type=json", "-p")
            self._kubectl(*target, json.dumps(patch))
            self._kubectl("delete", "crd", MPI_CRD, "--ignore-not-found", "--wait")
            self._kubectl.apply(folder=self._mpi_overlay())
            self._kubectl("-n", "mpi-operator", "rollout", "status", "deployment/mpi-operator", ROLLOUT)
        self._kubectl("wait", "--for=condition=Established", f"crd/{MPI_CRD}", "--timeout=60s")
        self.wait_training()

    def add_fake_nodes(self, count: int) -> None:
        """Nodes whose pods are played by KWOK; tainted, so that only pods that tolerate it land there."""
        if not daemons.is_running("kwok"):
            daemons.start("kwok", [
                self._built.binaries / "kwok",
                f"--kubeconfig={settings.kubeconfig()}",
                f"--manage-nodes-with-annotation-selector={FAKE}=fake",
                f"--cidr={settings.FAKE_POD_CIDR}",
                f"--node-ip={settings.HOST}",
                "--node-lease-duration-seconds=40",
            ])  # fmt: skip
        nodes = {"apiVersion": "v1", "kind": "List", "items": [_fake_node(number) for number in range(count)]}
        self._kubectl("apply", "-f", "-", document=nodes)  # server-side, a new node's status would be dropped
        self._kubectl("wait", "--for=condition=Ready", "node", "-l", "type=kwok", "--timeout=120s")

    def _kserve_overlay(self) -> Path:
        container = "/spec/template/spec/containers/0"
        deployment = [
            {"op": "replace", "path": f"{container}/image", "value": images.KSERVE},
            {"op": "replace", "path": f"{container}/imagePullPolicy", "value": "Never"},
            {"op": "replace", "path": f"{container}/args", "value": []},
            {"op": "remove", "path": f"{container}/resources"},
            *PROBE_AT_ONCE,
        ]
        ingress = {"enableGatewayApi": False, "disableIstioVirtualHost": True, "disableIngressCreation": True,
                   "ingressGateway": "none/none", "kserveIngressGateway": "none/none", "localGateway": "none/none",
                   "localGatewayService": "none", "ingressDomain": "example.com", "ingressClassName": "none",
                   "domainTemplate": "{{ .Name }}-{{ .Namespace }}.{{ .IngressDomain }}",
                   "urlScheme": "http"}  # fmt: skip
        settings_map = [
            {"op": "replace", "path": "/data/deploy", "value": json.dumps({"defaultDeploymentMode": "RawDeployment"})},
            {"op": "replace", "path": "/data/ingress", "value": json.dumps(ingress)},
        ]
        return self._overlay("kserve-manager", "config/bed", {
            "namespace": "kserve",
            "resources": [f"../{name}" for name in ("crd", "configmap", "rbac", "manager", "webhook")],
            "patches": [
                {"target": {"kind": "Deployment", "name": "kserve-controller-manager"},
                 "patch": json.dumps(deployment)},
                {"target": {"kind": "ConfigMap", "name": "inferenceservice-config"},
                 "patch": json.dumps(settings_map)},
            ],
        })  # fmt: skip

    def _mpi_overlay(self) -> Path:
        name, tag = images.MPI_OPERATOR.rsplit(":", 1)
        return self._overlay("mpi-operator", "manifests/overlays/bed", {
            "resources": ["../standalone"],
            "images": [{"name": "mpioperator/mpi-operator", "newName": name, "newTag": tag}],
            "patches": [{"target": {"kind": "Deployment"}, "patch": json.dumps([NEVER_PULL])}],
        })  # fmt: skip

    def _overlay(self, operator: str, inside: str, kustomization: dict[str, object]) -> Path:
        """A fresh copy of an operator's manifests with a kustomization of ours in it; returns its folder."""
        copy = settings.state() / "manifests" / operator
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._built.manifests / operator, copy / inside.split("/")[0])
        folder = copy / inside
        folder.mkdir(parents=True)
        header = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
        (folder / "kustomization.yaml").write_text(json.dumps({**header, **kustomization}))
        return folder


def _fake_node(number: int) -> dict[str, object]:
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"}
    labels = {
        "type": "kwok",
        "kubernetes.io/hostname": f"kwok-{number}",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": f"zone-{number % 3}",
    }
    metadata = {"name": f"kwok-{number}", "labels": labels, "annotations": {FAKE: "fake"}}
    taint = {"key": FAKE, "value": "fake", "effect": "NoSchedule"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": [taint]},
            "status": {"capacity": capacity, "allocatable": capacity}}  # fmt: skip
