"""EndpointSpec: how a model is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from shipway.code.reference import Code
from shipway.executors import identity
from shipway.podsecurity import DESCRIPTION, PodSecurity
from shipway.specs import Spec, parse

if TYPE_CHECKING:
    from shipway.inputs import Input
    from shipway.tasks import Task

Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?([kMGTP]i?|m)?$")]


class EndpointResources(Spec):
    """What the predictor asks for, as Kubernetes writes it; requests and limits are equal."""

    cpu: Annotated[Quantity, Field(description="cores")] = "1"
    memory: Quantity = "1Gi"


class EndpointSpec(Spec):
    """An endpoint, named like its model; a new version is checked as `<name>-candidate` before it takes over."""

    name: Annotated[
        str,
        Field(
            pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$",
            max_length=40,
            description="of model and endpoint: lower case letters, digits and '-'",
        ),
    ]
    protocol: Annotated[Literal["v1", "v2"], Field(description="whose URL is told; both are always served")] = "v1"
    replicas: Annotated[int, Field(ge=1, le=100, description="predictors on a cluster; one process here")] = 1
    resources: EndpointResources = Field(default_factory=EndpointResources)
    port: Annotated[
        int | None, Field(ge=1, le=65535, description="on this machine; none: a free one that the endpoint keeps")
    ] = None
    answers: Annotated[
        dict[str, Any], Field(description="settings of the model's task, in place of what evaluation found")
    ] = Field(default_factory=dict)
    input: Annotated[dict[str, Any], Field(description="limits of one instance, as the model's input has them")] = (
        Field(default_factory=dict)
    )
    max_instances: Annotated[int, Field(ge=1, le=100_000, description="in one request")] = 1024
    check_rows: Annotated[
        int, Field(ge=1, le=100_000, description="held-out rows that are sent through HTTP and compared")
    ] = 500
    deadline_s: Annotated[int, Field(ge=1, description="seconds until a version must be ready")] = 600
    grace_s: Annotated[int, Field(ge=1, description="seconds that requests may take to finish after SIGTERM")] = 30
    deployment_mode: Annotated[
        Literal["Standard", "RawDeployment", "Knative", "Serverless"],
        Field(description="KServe's; RawDeployment and Serverless are the names before 0.16"),
    ] = "Standard"
    image: Annotated[str, Field(description="empty: the package's own predictor")] = ""
    service_account: Annotated[
        str, Field(description="of the predictor; empty: shipway-predictor, without a token")
    ] = ""
    store_secret: Annotated[
        str, Field(description="Secret whose keys (AWS_...) reach the predictor; empty: none is asked for")
    ] = ""
    recipes: Annotated[
        list[str],
        Field(description="besides the shipped ones, that the version's manifest may name; `plan` puts the run's here"),
    ] = Field(default_factory=list)
    code: Code = ""
    node_selector: dict[str, str] = Field(default_factory=dict)
    pod_security: Annotated[PodSecurity, Field(description=DESCRIPTION)] = "restricted"

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if reserved := identity.reserved_name(name):
            raise ValueError(f"{name!r} {reserved}, which is reserved for what is made beside a model")
        return name


def check_spec(spec: EndpointSpec, task: Task, kind: Input) -> dict[str, Any]:
    """What only the task and the input can check.

    Returns:
        Settings of the answers that the spec states itself: those that are not at their defaults.

    Raises:
        InvalidSpec: a setting or a limit that they do not know, or a value that it cannot have.
    """
    parse(kind.Limits, spec.input, "endpoint.input")
    return parse(task.answers.Settings, spec.answers, "endpoint.answers").model_dump(mode="json", exclude_defaults=True)
