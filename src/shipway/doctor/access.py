"""Who steps run as, what they may do, and where they find storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from shipway.context import STORE
from shipway.doctor import Finding
from shipway.doctor.checkup import ACCOUNTS, Checkup
from shipway.store_access import contents, create_command, patch_command
from shipway.store_secret import DEFAULT_SECRET, KEYS

OURS = ("shipway-replica", "shipway-predictor", "shipway-reaper")
OVERDUE_S = 600.0  # the reaper runs each minute
KSERVE_ENDPOINT = "serving.kserve.io/s3-endpoint"
REVIEWS = "/apis/authorization.k8s.io/v1"


def accounts(checkup: Checkup) -> Iterator[Finding]:
    """The account that steps run as, and those of the manifests."""
    items = checkup.api.get(f"{checkup.core}/serviceaccounts")["items"]
    there = {item["metadata"]["name"] for item in items}
    steps = checkup.account or next((name for name in ACCOUNTS if name in there), "")
    if steps in there:
        checkup.account = steps
        yield Finding("steps' account", "ok", steps)
    else:
        wanted = steps or " or ".join(ACCOUNTS)
        text = f"no ServiceAccount {wanted} in {checkup.namespace}; --service-account names another"
        mend = f"kubectl -n {checkup.namespace} create serviceaccount {steps or ACCOUNTS[0]}"
        yield Finding("steps' account", "missing", text, mend)
    gone = [name for name in OURS if name not in there]
    if gone:
        yield Finding("accounts", "missing", f"no ServiceAccount {', '.join(gone)}", checkup.install)
    else:
        yield Finding("accounts", "ok", ", ".join(OURS))


def permissions(checkup: Checkup) -> Iterator[Finding]:
    """Exactly the verbs of the launcher's Role, asked for one by one."""
    from shipway.executors.kubernetes.permissions import LAUNCHER

    who = checkup.user if checkup.user.startswith("system:serviceaccount:") and not checkup.account else checkup.steps
    asked, missing = 0, []
    for permission in LAUNCHER:
        refused = []
        for verb in permission.verbs:
            asked += 1
            may, who = allowed(checkup, who, permission.group, permission.resource, verb)
            if not may:
                refused.append(verb)
        if refused:
            name = f"{permission.resource}.{permission.group}" if permission.group else permission.resource
            missing.append(f"{', '.join(refused)} {name}")
    if missing:
        yield Finding("permissions", "missing", f"{who} may not: {'; '.join(missing)}", checkup.install)
    else:
        yield Finding("permissions", "ok", f"all {asked} of the launcher's Role, for {who}")


def secrets(checkup: Checkup) -> Iterator[Finding]:
    """The Secrets that lead to storage: the one that replicas take whole, and those that steps take keys of."""

    wanted = {DEFAULT_SECRET: list(KEYS)}
    for name, keys in checkup.secrets.items():
        wanted[name] = list(dict.fromkeys([*wanted.get(name, []), *keys]))
    for name, keys in wanted.items():
        yield _secret(checkup, name, keys)


def _secret(checkup: Checkup, name: str, keys: list[str]) -> Finding:
    """All its keys, and, where it leads to the store, the same address for KServe."""
    what, secret = f"Secret {name}", checkup.api.find(f"{checkup.core}/secrets/{name}")
    if secret is None:
        checkup.can_start = False
        text = f"none in {checkup.namespace}; a pod without it never starts"
        return Finding(what, "missing", text, create_command(checkup.namespace, name, keys))
    data = contents(secret)
    empty = [key for key in keys if not data.get(key)]
    if empty:
        checkup.can_start = False
        return Finding(what, "missing", f"without {', '.join(empty)}", patch_command(checkup.namespace, name, empty))
    if STORE not in data or not data.get("AWS_ENDPOINT_URL"):
        return Finding(what, "ok", ", ".join(keys))
    endpoint = urlsplit(data["AWS_ENDPOINT_URL"])
    told = (secret["metadata"].get("annotations") or {}).get(KSERVE_ENDPOINT, "")
    if told == endpoint.netloc:
        return Finding(what, "ok", f"{data[STORE]} at {data['AWS_ENDPOINT_URL']}")
    notes = {KSERVE_ENDPOINT: endpoint.netloc, "serving.kserve.io/s3-usehttps": str(int(endpoint.scheme == "https"))}
    given = json.dumps({"metadata": {"annotations": notes}})
    text = f"tells KServe {told or 'no address'}, and our pods {endpoint.netloc} (matters for a storageUri)"
    return Finding(what, "warn", text, f"kubectl -n {checkup.namespace} patch secret {name} --type merge -p '{given}'")


def reaper(checkup: Checkup) -> Iterator[Finding]:
    """The CronJob that ends jobs whose step is gone."""
    cronjob = checkup.api.find(f"/apis/batch/v1/namespaces/{checkup.namespace}/cronjobs/shipway-reaper")
    if cronjob is None:
        yield Finding("reaper", "warn", "no CronJob shipway-reaper: a killed step's job may run on", checkup.install)
    elif cronjob["spec"].get("suspend"):
        patch = """-p '{"spec":{"suspend":false}}'"""
        yield Finding(
            "reaper", "info", "suspended", f"kubectl -n {checkup.namespace} patch cronjob shipway-reaper {patch}"
        )
    else:
        yield _reaped(cronjob, checkup.api.now())


def _reaped(cron: dict[str, Any], now: float) -> Finding:
    """Whether a CronJob that is not suspended works; `now`: seconds since the epoch by the API server's clock."""
    from shipway.executors.kubernetes.states import seconds_of

    last, metadata = (cron.get("status") or {}).get("lastSuccessfulTime", ""), cron["metadata"]
    text = f"{cron['spec']['schedule']!r}, last success {last or 'never yet'}"
    if now - seconds_of(last or metadata["creationTimestamp"]) < OVERDUE_S:
        return Finding("reaper", "ok", text)
    look = f"kubectl -n {metadata['namespace']} describe pods -l app.kubernetes.io/name=shipway-reaper"
    return Finding("reaper", "warn", f"{text}: a killed step's job may run on",
                   f"{look}; where its image cannot be pulled: `images:` of the overlay")  # fmt: skip


def allowed(checkup: Checkup, who: str, group: str, resource: str, verb: str) -> tuple[bool, str]:
    """Whether `who` may; where we may not ask about others, whether we may ourselves. And about whom that is."""
    from shipway.executors.kubernetes.api import ApiError

    plural, _, sub = resource.partition("/")
    asked = {"namespace": checkup.namespace, "verb": verb, "group": group, "resource": plural, "subresource": sub}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked}}  # fmt: skip
    if who != checkup.user:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{checkup.namespace}", "system:authenticated"]
        other = {**body, "kind": "SubjectAccessReview", "spec": {**body["spec"], "user": who, "groups": groups}}  # type: ignore[dict-item]
        try:
            answer = checkup.api.post(f"{REVIEWS}/subjectaccessreviews", other)
            return bool(answer["status"]["allowed"]), who
        except ApiError as error:
            if error.status != 403:
                raise
    answer = checkup.api.post(f"{REVIEWS}/selfsubjectaccessreviews", body)
    return bool(answer["status"]["allowed"]), checkup.user
