"""Small manifests for the cluster tests; every container runs Debian's Python, or Open MPI, from the bed's images."""

from __future__ import annotations

from typing import Any

from tests.cluster.bed import images

Manifest = dict[str, Any]
MPIRUN = ["mpirun", "--allow-run-as-root", "-np", "2", "--bind-to", "none", "--mca", "btl_tcp_if_include", "eth0"]
RANK = ["sh", "-c", "echo rank $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE on $(hostname)"]

SERVER = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer({"status": "alive"})
    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
        self.answer({"predictions": [sum(row) for row in rows]})
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


def container(code: str | list[str], name: str = "main", image: str = images.PYTHON, **fields: Any) -> Manifest:
    """A container with a line of Python, or a command."""
    command = ["python", "-u", "-c", code] if isinstance(code, str) else code
    return {"name": name, "image": image, "command": command, **fields}


def pod(name: str, code: str, **fields: Any) -> Manifest:
    """A pod that runs once; `fields` are its container's."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", **_quick(container(code, **fields))},
    }


def tfjob(name: str, code: str, workers: int) -> Manifest:
    """A TFJob with a chief; all replicas run the same code and find their part in TF_CONFIG."""
    template = {"spec": _quick(container(code, "tensorflow"))}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {"name": name},
        "spec": {
            "runPolicy": {"cleanPodPolicy": "None"},
            "tfReplicaSpecs": {
                "Chief": {"replicas": 1, "restartPolicy": "Never", "template": template},
                "Worker": {"replicas": workers, "restartPolicy": "Never", "template": template},
            },
        },
    }


def mpijob(name: str, version: str) -> Manifest:
    """An MPIJob whose two ranks print who they are: v1 over kubectl exec, v2beta1 over ssh."""
    worker = ["sleep", "600"] if version == "v1" else ["start-sshd"]
    spec: Manifest = {
        "slotsPerWorker": 1,
        "runPolicy": {"cleanPodPolicy": "Running"},
        "mpiReplicaSpecs": {
            "Launcher": _mpi_replicas(1, [*MPIRUN, *RANK]),
            "Worker": _mpi_replicas(2, worker),
        },
    }
    if version == "v2beta1":
        spec["sshAuthMountPath"] = "/root/.ssh"
    return {"apiVersion": f"kubeflow.org/{version}", "kind": "MPIJob", "metadata": {"name": name}, "spec": spec}


def inference_service(name: str) -> Manifest:
    """An InferenceService whose predictor sums each row."""
    predictor = container(
        SERVER,
        "kserve-container",
        ports=[{"containerPort": 8080, "protocol": "TCP"}],
        readinessProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        resources={"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}},
    )
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"minReplicas": 1, "maxReplicas": 1, **_quick(predictor)}},
    }


def fake_deployment(name: str, replicas: int) -> Manifest:
    """Pods for KWOK's nodes."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "nodeSelector": {"type": "kwok"},
                    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
                    "containers": [{"name": "main", "image": "none"}],
                },
            },
        },
    }


def _mpi_replicas(count: int, command: list[str]) -> Manifest:
    template = {"spec": _quick(container(command, "mpi", images.MPI))}
    return {"replicas": count, "restartPolicy": "Never", "template": template}


def _quick(main: Manifest) -> Manifest:
    return {"terminationGracePeriodSeconds": 1, "containers": [main]}
