"""Where Kubeflow Pipelines keeps artifacts, whether its launcher has keys for it, and whether its UI can show ours.

As KFP 2.17 reads the ConfigMap `kfp-launcher` (backend/src/v2/config) and an artifact (frontend/server): the UI fetches
a report by what the launcher noted of its store; it reads Secrets in its own namespace only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from shipway.doctor import Finding, kfp
from shipway.doctor.checkup import Checkup

BUCKET = "mlpipeline"  # that KFP brings
KFP_SECRET = "mlpipeline-minio-artifact"
DEFAULT_ROOT = f"minio://{BUCKET}/v2/artifacts"
UI = "ml-pipeline-ui"
_PATCH = "patch configmap kfp-launcher --type merge"
_OURS = f"{_PATCH} --patch-file manifests/kfp/kfp-launcher.yaml"


@dataclass(frozen=True)
class Access:
    """How the launcher reaches the pipeline root.

    Attributes:
        root: URI below which artifacts lie.
        secret: Of its keys, in the steps' namespace; empty: the pod's own environment, which is a cloud's identity.
        keys: The Secret's keys.
        endpoint: Of the store, where the ConfigMap names one.
        wrong: What is wrong with the ConfigMap itself.
    """

    root: str
    secret: str = ""
    keys: tuple[str, ...] = ()
    endpoint: str = ""
    wrong: str = ""

    @property
    def scheme(self) -> str:
        return self.root.partition("://")[0]


def artifacts(checkup: Checkup) -> Iterator[Finding]:
    """Root, keys and UI."""
    if not checkup.kfp:
        return
    config = checkup.api.find(f"{checkup.core}/configmaps/kfp-launcher")
    access = read((config or {}).get("data") or {})
    yield _root(checkup, access, is_there=config is not None)
    yield from _interface(checkup, access)


def read(data: dict[str, str]) -> Access:
    """What a `kfp-launcher` says; empty data is KFP's default."""
    import yaml

    root = data.get("defaultPipelineRoot") or DEFAULT_ROOT
    scheme, _, path = root.partition("://")
    if scheme not in ("minio", "s3", "gs"):
        return Access(root, wrong=f"defaultPipelineRoot {root!r} is none of minio://, s3://, gs://")
    try:
        provider = (yaml.safe_load(data.get("providers") or "") or {}).get(scheme) or {}
        default = provider.get("default") or {}
        overrides = provider.get("Overrides") or provider.get("overrides") or []
    except (yaml.YAMLError, AttributeError):
        return Access(root, wrong="providers is not a YAML mapping")
    if not provider and scheme == "minio" and "?" not in root:
        return Access(root, KFP_SECRET, ("accesskey", "secretkey"))
    if not provider or "?" in root:
        return Access(root)
    bucket, _, prefix = path.partition("/")
    fitting = (each for each in overrides if each.get("bucketName") == bucket
               and prefix.startswith(each.get("keyPrefix") or ""))  # fmt: skip
    chosen = {**default, **next(fitting, {})}
    credentials = chosen.get("credentials")
    endpoint = str(chosen.get("endpoint") or "")
    if not default.get("credentials") or not credentials:
        return Access(root, endpoint=endpoint, wrong=f"providers.{scheme}.default has no credentials")
    if credentials.get("fromEnv"):
        return Access(root, endpoint=endpoint)
    reference = credentials.get("secretRef") or {}
    names = ("secretName", "tokenKey") if scheme == "gs" else ("secretName", "accessKeyKey", "secretKeyKey")
    lacks = [name for name in names if not reference.get(name)]
    if lacks:
        return Access(root, endpoint=endpoint, wrong=f"providers.{scheme}: secretRef without {', '.join(lacks)}")
    return Access(root, str(reference["secretName"]), tuple(str(reference[name]) for name in names[1:]), endpoint)


def _root(checkup: Checkup, access: Access, *, is_there: bool) -> Finding:
    """Whether the launcher can write below the root."""
    what, name, is_own = "KFP: kfp-launcher", checkup.namespace, checkup.kfp == checkup.namespace
    create = "" if is_there else f"kubectl -n {name} create configmap kfp-launcher && "
    mend = f"{create}kubectl -n {name} {_OURS}" if is_own else f"{create}kubectl -n {name} {_PATCH} -p '{_team(name)}'"
    absent = "" if is_there else f"no ConfigMap kfp-launcher in {name}; "
    if access.wrong:
        return Finding(what, "missing", access.wrong, mend)
    own = f"{BUCKET}/private-artifacts/{name}/"
    if not is_own and f"://{BUCKET}/" in access.root and f"://{own}" not in access.root:
        return Finding(
            what, "warn", f"{absent}artifacts go to {access.root}, which a profile's keys do not reach", mend
        )
    if not access.secret:
        text = f"{access.root}: no keys are named; a step's launcher has none but a cloud's identity"
        return Finding(what, "warn", absent + text, mend)
    gone = _gone(checkup, access)
    if gone is None:
        return Finding(what, "info", f"{access.root}; Secret {access.secret} is not visible to {checkup.user}")
    if gone:
        # KFP's own Secret stands in its namespace: elsewhere the launcher's default leads nowhere.
        return Finding(what, "missing" if is_there else "warn", f"{absent}{access.root}: {gone}", mend)
    return Finding(what, "ok", f"{access.root}, keys of Secret {access.secret}")


def _gone(checkup: Checkup, access: Access) -> str | None:
    """What is missing of the root's Secret; None where it may not be seen."""
    from shipway.executors.kubernetes.api import ApiError

    try:
        secret = checkup.api.find(f"{checkup.core}/secrets/{access.secret}")
    except ApiError as error:
        if error.status != 403:
            raise
        return None
    if secret is None:
        return f"no Secret {access.secret} in {checkup.namespace}, which the launcher reads"
    lacks = [key for key in access.keys if not (secret.get("data") or {}).get(key)]
    return f"Secret {access.secret} without {', '.join(lacks)}" if lacks else ""


def _team(name: str) -> str:
    """As the profile controller writes a team's."""
    root = f"minio://{BUCKET}/private-artifacts/{name}/v2/artifacts"
    return json.dumps({"data": {"defaultPipelineRoot": root, "providers": None}})


def _interface(checkup: Checkup, access: Access) -> Iterator[Finding]:
    """Whether reports appear in KFP's UI."""
    deployment = kfp.deployment(checkup, checkup.kfp, UI)
    what = "KFP: reports in the UI"
    if deployment is None:
        yield Finding(what, "info", f"no {UI} in {checkup.kfp}: `shipway reports` opens them")
        return
    reason = hidden(access, kfp.variables(checkup, checkup.kfp, deployment), is_own=checkup.kfp == checkup.namespace)
    if not reason:
        yield Finding(what, "ok", "its server can read them")
        return
    mend = f"kubectl -n {checkup.namespace} {_OURS}"
    if checkup.kfp != checkup.namespace:
        mend = f"kubectl -n {checkup.namespace} {_PATCH} -p '{_team(checkup.namespace)}'"
    yield Finding(what, "warn", f"{reason}: reports stay blank there; `shipway reports` opens them", mend)


def hidden(access: Access, variables: dict[str, str], *, is_own: bool) -> str:
    """Why the UI's server cannot fetch an artifact; empty where it can.

    Args:
        access: How the launcher reaches the root: the UI is told the same.
        variables: Of the UI's container.
        is_own: Whether steps run in the UI's own namespace, the only one whose Secrets it reads.
    """
    if access.wrong or access.scheme == "gs":
        return ""
    if not is_own and variables.get("ARTIFACTS_SERVICE_PROXY_ENABLED", "").lower() == "true":
        return ""
    if is_own and access.secret:
        return ""
    if access.scheme == "minio":
        given = variables.get("MINIO_HOST") or "seaweedfs"
        if access.endpoint and access.endpoint.partition(":")[0].split(".")[0] != given.split(".")[0]:
            return f"{UI} reads minio:// from {given}, not from {access.endpoint}"
        return ""
    if access.endpoint and "amazonaws.com" not in access.endpoint:
        return f"{UI} asks Amazon for s3:// where it may read no Secret, not {access.endpoint}"
    if {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(variables):
        return ""
    return f"{UI} has no keys for {access.root} but a cloud's identity"
