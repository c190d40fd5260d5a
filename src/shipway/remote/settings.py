"""Where Kubeflow is, and who asks: from the command line, the environment, a file, or what is found around us."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shipway import kubeconfig
from shipway.errors import InvalidSpec, KubeflowUnavailable, NotFound
from shipway.remote.credentials import Credentials, Secret

KFP = "SHIPWAY_KFP"
AUTO = "auto"
IN_CLUSTER = "http://ml-pipeline.{namespace}.svc.cluster.local:8888"
# What `kubectl port-forward` is usually told: the API itself, or the UI, which hands the API on below /pipeline.
FORWARDED = ((8888, ""), (8080, "/pipeline"), (3000, ""))
KUBE_PROXY = "{server}/api/v1/namespaces/{namespace}/services/ml-pipeline:http/proxy"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PIPELINES_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
# The file's keys; secrets stand in files of their own, which a person can protect and rotate.
KEYS = ("url", "namespace", "token_file", "cookie_file", "ca", "verify", "experiment", "cron_zone", "install", "ui")


PLAIN = ("namespace", "install", "experiment", "cron_zone", "ui")
NOBODY = Credentials()


@dataclass(frozen=True)
class Settings:
    """One connection.

    Attributes:
        url: The API's base, in front of `/apis/v2beta1`.
        source: How it was found, for messages.
        namespace: Whose runs, where Kubeflow serves several users; empty where it serves one.
        install: Namespace that Kubeflow Pipelines itself runs in.
        ca: File of certificates to trust beside the system's.
        verify: Whether the server's certificate is checked.
        client_cert, client_key: Files by which the kubeconfig's user shows who they are, where they have no token.
        experiment: Where runs go that name none.
        cron_zone: Time zone in which the cluster reads cron (its CRON_SCHEDULE_TIMEZONE).
        ui: Address of the UI, for links.
    """

    url: str
    source: str
    credentials: Credentials = NOBODY
    namespace: str = ""
    install: str = "kubeflow"
    ca: str = ""
    verify: bool = True
    client_cert: str = ""
    client_key: str = ""
    experiment: str = "Default"
    cron_zone: str = "UTC"
    ui: str = ""


def config_path() -> Path:
    """The file of the person at this machine."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "shipway" / "kfp.yaml"


def configured_url() -> str:
    """The address that the environment or the file names; empty for none. Reads no more than it must."""
    url = os.environ.get(KFP) or os.environ.get("KF_PIPELINES_ENDPOINT") or ""
    if url or not config_path().exists():
        return url
    return str(read_config().get("url", ""))


def read_config() -> dict[str, Any]:
    """What the file says; empty without a file.

    Raises:
        InvalidSpec: no mapping, an unknown key, or a secret in it.
    """
    path = config_path()
    if not path.exists():
        return {}
    from shipway.yaml_text import load_yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"cannot be read: {' '.join(str(error).split())}", field=path) from error
    document = load_yaml(text, str(path)) or {}
    if not isinstance(document, Mapping):
        raise InvalidSpec(field=path, allowed=f"a mapping of {', '.join(KEYS)}")
    for key in document:
        if key in ("token", "cookie", "password"):
            raise InvalidSpec(f"{key}: a secret has no place here", field=path, fix=f"name its file by {key}_file")
        if key not in KEYS:
            raise InvalidSpec("unknown key", field=path, given=key, allowed=KEYS)
    return dict(document)


def find(url: str | None = None, **given: Any) -> Settings:
    """The settings in force; what is given wins over the environment, and that over the file.

    Args:
        url: The API's address, `auto` to look around, None for what is configured, else to look around.
        given: Fields of `Settings`, or `token` and `cookie` as text.

    Raises:
        KubeflowUnavailable: nothing is configured and nothing was found.
    """
    config = read_config()
    token, cookie = given.pop("token", None), given.pop("cookie", None)
    chosen, source = _choose(url, config)
    fields: dict[str, Any] = {key: config[key] for key in PLAIN if key in config}
    fields |= {"ca": str(Path(config["ca"]).expanduser())} if config.get("ca") else {}
    fields |= {"verify": bool(config["verify"])} if "verify" in config else {}
    environment = {"namespace": f"{KFP}_NAMESPACE", "ca": f"{KFP}_CA", "cron_zone": f"{KFP}_CRON_ZONE"}
    fields |= {key: os.environ[name] for key, name in environment.items() if os.environ.get(name)}
    fields |= {key: value for key, value in given.items() if value is not None}
    settings = Settings(url=chosen, source=source, credentials=_credentials(config, token, cookie), **fields)
    if not settings.url:
        settings = _look_around(settings)
    return replace(settings, url=_whole(settings.url), namespace=settings.namespace or _kfp_context("namespace"))


def _choose(url: str | None, config: Mapping[str, Any]) -> tuple[str, str]:
    if url and url != AUTO:
        return url, "--kfp"
    if url == AUTO or os.environ.get(KFP) == AUTO:
        return "", AUTO
    for name in (KFP, "KF_PIPELINES_ENDPOINT"):
        if os.environ.get(name):
            return os.environ[name], name
    return str(config.get("url", "")), str(config_path())


def _whole(url: str) -> str:
    """With a scheme: a port means a forwarded or in-cluster plain port, as people type it, anything else is https."""
    url = url.strip().rstrip("/")
    if "://" not in url:
        host = url.partition("/")[0].partition(":")[0]
        plain = host in ("localhost", "127.0.0.1") or host.endswith((".svc", ".local"))
        url = f"{'http' if plain else 'https'}://{url}"
    if not url.startswith(("http://", "https://")):
        raise InvalidSpec(f"{url!r} is no http:// or https:// address of Kubeflow Pipelines", field="--kfp", given=url)
    return url.removesuffix("/apis/v2beta1").partition("/#")[0].rstrip("/")


def _credentials(config: Mapping[str, Any], token: str | None, cookie: str | None) -> Credentials:
    """As kfp's own client finds them, and by our variables and file."""
    return Credentials(
        token=_secret(
            ("token=", token),
            (f"{KFP}_TOKEN", os.environ.get(f"{KFP}_TOKEN")),
            files=(
                os.environ.get(f"{KFP}_TOKEN_FILE"),
                config.get("token_file"),
                os.environ.get("KF_PIPELINES_SA_TOKEN_PATH"),
                str(PIPELINES_TOKEN) if PIPELINES_TOKEN.exists() else None,
            ),
        ),
        cookie=_secret(
            ("cookie=", cookie),
            (f"{KFP}_COOKIE", os.environ.get(f"{KFP}_COOKIE")),
            ("~/.config/kfp/context.json", _kfp_context("client_authentication_cookie")),
            files=(os.environ.get(f"{KFP}_COOKIE_FILE"), config.get("cookie_file")),
        ),
    )


def _secret(*values: tuple[str, str | None], files: tuple[str | None, ...]) -> Secret | None:
    for origin, value in values:
        if value:
            return Secret(origin, value.strip())
    for path in files:
        if path:
            return Secret(str(path), path=Path(path).expanduser())
    return None


def _kfp_context(key: str) -> str:
    """What kfp's own client was told to remember."""
    try:
        document = json.loads((Path.home() / ".config" / "kfp" / "context.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(document.get(key) or "")


def _look_around(settings: Settings) -> Settings:
    """The first of: the cluster this process is in, a forwarded port, the kubeconfig's cluster."""
    tried = []
    for candidate in (*_in_cluster(settings), *_forwarded(settings)):
        return candidate
    tried.append("no Kubernetes pod around this process")
    tried.append(f"nobody answers on localhost ports {', '.join(str(port) for port, _ in FORWARDED)}")
    for candidate in _kubeconfig(settings):
        return candidate
    tried.append("no kubeconfig")
    raise KubeflowUnavailable(
        f"Kubeflow: no address is configured and none was found ({'; '.join(tried)}). Name one by --kfp URL, {KFP}, or "
        f"url: in {config_path()}; or run kubectl port-forward -n kubeflow svc/ml-pipeline 8888"
    )


def _in_cluster(settings: Settings) -> Iterator[Settings]:
    if not os.environ.get("KUBERNETES_SERVICE_HOST"):
        return
    own = ACCOUNT / "namespace"
    namespace = settings.namespace or (own.read_text(encoding="utf-8").strip() if own.exists() else "")
    yield replace(
        settings,
        url=IN_CLUSTER.format(namespace=settings.install),
        source="the cluster of this pod",
        namespace=namespace if namespace != settings.install else "",
    )


def _forwarded(settings: Settings) -> Iterator[Settings]:
    for port, path in FORWARDED:
        if _answers_as_kfp(f"http://localhost:{port}{path}"):
            yield replace(settings, url=f"http://localhost:{port}{path}", source=f"localhost:{port}")


def _answers_as_kfp(url: str) -> bool:
    """Whether it is Kubeflow Pipelines that listens there, and not anything else that likes port 8080."""
    import urllib3

    port = int(url.split(":")[2].partition("/")[0])
    with socket.socket() as probe:
        probe.settimeout(0.2)
        if probe.connect_ex(("localhost", port)) != 0:
            return False
    try:
        answer = urllib3.PoolManager().request(
            "GET", f"{url}/apis/v2beta1/healthz", timeout=2.0, retries=False, redirect=False
        )
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status in (200, 401, 403) and "json" in answer.headers.get("content-type", "json")


def _kubeconfig(settings: Settings) -> Iterator[Settings]:
    """Through the API server's own proxy, as kfp's client does; who asks is the kubeconfig's user."""
    if not kubeconfig.is_there():
        return
    try:
        cluster = kubeconfig.load()
    except NotFound as error:
        raise NotFound(f"{error}; `kubectl config get-contexts` shows it", field="kubeconfig") from error
    bearer = (cluster.api_key or {}).get("authorization", "").removeprefix("Bearer ")
    credentials = Credentials(token=Secret("the kubeconfig", bearer)) if bearer else settings.credentials
    yield replace(
        settings,
        url=KUBE_PROXY.format(server=cluster.host.rstrip("/"), namespace=settings.install),
        source="the kubeconfig's cluster",
        credentials=credentials,
        ca=cluster.ssl_ca_cert or settings.ca,
        verify=bool(cluster.verify_ssl),
        client_cert=cluster.cert_file or "",
        client_key=cluster.key_file or "",
    )
