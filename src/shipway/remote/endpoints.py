"""An endpoint on a cluster, asked through the Kubernetes API: its own address is known inside the cluster only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shipway import kubeconfig
from shipway.errors import NotFound, ShipwayError, UserError, nearest

if TYPE_CHECKING:
    from shipway.executors.kubernetes.api import Api

PATIENCE_S = 15.0
PLURAL = "inferenceservices"


@dataclass(frozen=True)
class There:
    """A ready endpoint of a cluster, asked through its Service behind the API server's proxy.

    Attributes:
        recipe: Of the model that it serves; empty where its InferenceService does not say.
        code: That the recipe is in; empty where it is in the image.
    """

    api: Api
    name: str
    namespace: str
    recipe: str
    code: str

    def post(self, body: Mapping[str, Any]) -> list[Any]:
        """V1 predictions of a request's instances.

        Raises:
            UserError: it refuses the request; says why, and how else to reach it.
            ShipwayError: it does not answer.
        """
        from shipway.executors.kubernetes.api import ApiError

        service = f"http:{self.name}-predictor:80"
        path = f"/api/v1/namespaces/{self.namespace}/services/{service}/proxy/v1/models/{self.name}:predict"
        try:
            predictions: list[Any] = self.api.post(path, dict(body))["predictions"]
        except ApiError as error:
            raise _refused(error, self.name, self.namespace) from error
        return predictions


def find(name: str, namespace: str) -> There:
    """An endpoint that can be asked.

    Raises:
        NotFound: no kubeconfig, or no such endpoint; names those there are.
        UserError: it is not ready.
    """
    from shipway.executors.kubernetes.api import Api

    if not kubeconfig.leads_to_a_cluster():
        raise NotFound(f"there is no kubeconfig here; where there is one: {by_hand(name, namespace)}", field="predict")
    api = Api(patience_s=PATIENCE_S)
    service = _find(api, name, namespace)
    conditions = {each["type"]: each for each in (service.get("status") or {}).get("conditions") or []}
    ready = conditions.get("Ready") or {}
    if ready.get("status") != "True":
        why = ready.get("message") or ready.get("reason") or "KServe has not said why"
        raise UserError(
            (f"endpoint {name} in {namespace} is not ready: {why}; kubectl -n {namespace} get pods"), field="predict"
        )
    from shipway.code.given import GIVEN
    from shipway.recipes.base import ALLOWED

    return There(api, name, namespace, _variable(service, ALLOWED), _variable(service, GIVEN))


def _variable(service: dict[str, Any], name: str) -> str:
    """What `deploy.kserve` gave the predictor by that name."""
    predictor = (service.get("spec") or {}).get("predictor") or {}
    variables = [each for container in predictor.get("containers") or [] for each in container.get("env") or []]
    return next((str(each.get("value", "")) for each in variables if each.get("name") == name), "")


def by_hand(name: str, namespace: str, port: int = 8080) -> str:
    """The command that brings an endpoint's Service to this machine."""
    return f"kubectl -n {namespace} port-forward svc/{name}-predictor {port}:80"


def address(name: str, namespace: str) -> str:
    """Where an endpoint answers inside the cluster."""
    return f"http://{name}-predictor.{namespace}.svc/v1/models/{name}:predict"


def place_of(url: str) -> tuple[str, str] | None:
    """Name and namespace of an endpoint by the address that it has inside the cluster; None for any other address."""
    from urllib.parse import urlsplit

    parts = (urlsplit(url).hostname or "").split(".")
    if len(parts) < 3 or parts[2] != "svc" or not parts[0].endswith("-predictor"):
        return None
    return parts[0].removesuffix("-predictor"), parts[1]


def _find(api: Any, name: str, namespace: str) -> dict[str, Any]:
    from shipway.executors.kubernetes.api import ApiError

    folder = f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/{PLURAL}"
    try:
        service: dict[str, Any] | None = api.find(f"{folder}/{name}")
        if service is not None:
            return service
        names = [str(each["metadata"]["name"]) for each in api.get(folder)["items"]]
    except ApiError as error:
        if error.status == 404:
            raise NotFound("this cluster serves no models: KServe is not installed", field="predict") from error
        raise _refused(error, name, namespace) from error
    raise NotFound(
        f"no endpoint {name!r} in namespace {namespace}; there are {', '.join(names) or 'none'}{nearest(name, names)}",
        field="predict",
        given=name,
    )


def _refused(error: Any, name: str, namespace: str) -> ShipwayError:
    said = f"{error.status or 'no answer'} {error.message}"
    if error.status == 403:
        return UserError(
            f"you may not ask {name} through the Kubernetes API ({said}); it takes `get` on "
            f"{PLURAL} and `create` on services/proxy in {namespace}, or "
            f"{by_hand(name, namespace)}",
            field="predict",
        )
    kind = UserError if 400 <= error.status < 500 else ShipwayError
    return kind(f"predict: endpoint {name} in {namespace}: {said}; or {by_hand(name, namespace)}")
