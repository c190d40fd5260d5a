"""Which fences of manifests/ stand: around what steps may launch, what pods may ask, whom they reach, and their keys.

Nothing here keeps a run from working, so nothing is `missing`: what is not there is a `warn`, with what puts it there.
"""

from __future__ import annotations

from collections.abc import Iterator

from shipway.doctor import Finding
from shipway.doctor.access import OURS, allowed
from shipway.doctor.checkup import Checkup
from shipway.executors.kubernetes.accounts import PREDICTOR, REPLICA
from shipway.store_access import contents, create_command, patch_command
from shipway.store_secret import DEFAULT_SECRET, KEYS, PREDICTOR_SECRET, REPLICA_SECRET

POLICIES = ("shipway-launched", "shipway-ended", "shipway-peers")
LABEL, ENFORCE = "shipway.dev/admission", "enforce"
FENCES = ("shipway-training", "shipway-predictors", "shipway-storage")
# With any of these an account gets round what the policies refuse to what it launches: group, resource, verb.
TOO_MUCH = (
    ("", "secrets", "get"), ("", "pods", "create"), ("", "pods/exec", "create"), ("batch", "jobs", "create"),
    ("apps", "deployments", "create"), ("", "serviceaccounts/token", "create"),
    ("rbac.authorization.k8s.io", "rolebindings", "create"),
)  # fmt: skip
ANYTHING = (*TOO_MUCH, ("", "pods", "list"), ("", "configmaps", "get"), ("kubeflow.org", "tfjobs", "create"))


def admission(checkup: Checkup) -> Iterator[Finding]:
    """The policies of manifests/admission, whether they look at this namespace, and at the account of its steps."""
    what, path = "admission policies", "/apis/admissionregistration.k8s.io/v1"
    policies = {name: checkup.api.find(f"{path}/validatingadmissionpolicies/{name}") for name in POLICIES}
    bound = {name: checkup.api.find(f"{path}/validatingadmissionpolicybindings/{name}") for name in POLICIES}
    gone = [name for name in POLICIES if policies[name] is None or bound[name] is None]
    label = f"kubectl label --overwrite namespace {checkup.namespace} {LABEL}={ENFORCE}"
    if gone:
        text = f"no {', '.join(gone)}: a step may have its jobs mount any Secret of {checkup.namespace}"
        yield Finding(what, "warn", text, f"kubectl apply -k manifests/admission && {label}")
        return
    namespace = checkup.api.find(f"/api/v1/namespaces/{checkup.namespace}") or {"metadata": {}}
    if (namespace["metadata"].get("labels") or {}).get(LABEL) != ENFORCE:
        yield Finding(what, "warn", f"installed, and not in force in {checkup.namespace}", label)
        return
    steps = checkup.steps.rpartition(":")[2]
    blind = [
        name for name, each in policies.items() if f"'{steps}'" not in str((each or {})["spec"]["matchConditions"])
    ]
    if blind:
        text = f"{', '.join(blind)} do not name {steps}, which steps run as: they refuse it nothing"
        yield Finding(what, "warn", text, "add it to matchConditions in manifests/admission, and apply them again")
    else:
        yield Finding(what, "ok", f"{', '.join(POLICIES)} in force for {steps}")


def rights(checkup: Checkup) -> Iterator[Finding]:
    """What accounts may do beyond what the manifests give them."""
    for account, asked in ((checkup.steps, TOO_MUCH), *((_named(checkup, name), ANYTHING) for name in OURS)):
        more = []
        for group, resource, verb in asked:
            may, who = allowed(checkup, account, group, resource, verb)
            if who != account:
                yield Finding("accounts' rights", "info", f"not visible to {checkup.user}; an admin can look")
                return
            more += [f"{verb} {resource}"] if may else []
        name = account.rpartition(":")[2]
        if more:
            text = f"{name} may also {', '.join(more)}; no policy on what it launches outweighs that"
            yield Finding(f"rights of {name}", "warn", text, _look(checkup, name))
        else:
            yield Finding(f"rights of {name}", "ok", "nothing that gets round the policies")


def tokens(checkup: Checkup) -> Iterator[Finding]:
    """Whether pods get a token that did not ask for one."""
    given = []
    for name in (REPLICA, PREDICTOR):
        account = checkup.api.find(f"{checkup.core}/serviceaccounts/{name}")
        if account is not None and account.get("automountServiceAccountToken") is not False:
            given.append(name)
    if given:
        text = f"{', '.join(given)} mount a token where a pod does not refuse it"
        yield Finding("tokens", "warn", text, checkup.install)
    else:
        yield Finding("tokens", "ok", "replicas and predictors mount none")


def network(checkup: Checkup) -> Iterator[Finding]:
    """The network policies; whether the cluster's network enforces any, the API cannot say."""
    path = f"/apis/networking.k8s.io/v1/namespaces/{checkup.namespace}/networkpolicies"
    policies = {name: checkup.api.find(f"{path}/{name}") for name in FENCES}
    gone = [name for name, each in policies.items() if each is None]
    training = policies["shipway-training"]
    if gone:
        text = f"no {', '.join(gone)}: replicas take commands from whoever reaches them"
        yield Finding("network policies", "warn", text, checkup.install)
    elif training is not None and training["spec"].get("ingress"):
        text = "shipway-training lets the jobs of a namespace reach each other: it is of an earlier version"
        yield Finding("network policies", "warn", text, checkup.install)
    else:
        text = f"{', '.join(FENCES)}; whether this cluster's network enforces them cannot be asked"
        yield Finding("network policies", "ok", text)


def keys(checkup: Checkup) -> Iterator[Finding]:
    """Whether replicas and predictors hold keys of their own, or those with which steps move aliases."""
    secret = checkup.api.find(f"{checkup.core}/secrets/{DEFAULT_SECRET}")
    if secret is None:  # told before
        return
    steps = contents(secret)
    checkup.replica_secret = steps.get(REPLICA_SECRET, "")
    for role, variable in (("replica", REPLICA_SECRET), ("predictor", PREDICTOR_SECRET)):
        yield _keys_of(checkup, role, variable, steps)


def _keys_of(checkup: Checkup, role: str, variable: str, steps: dict[str, str]) -> Finding:
    what, name, default = f"keys of {role}s", steps.get(variable, ""), f"shipway-{role}-store"
    if not name:
        set_it = patch_command(checkup.namespace, DEFAULT_SECRET, [variable]).replace("VALUE", default)
        text = "those of the steps, which read every model and move aliases"
        mend = f"shipway store policy {role}; {create_command(checkup.namespace, default)}; {set_it}"
        return Finding(what, "warn", text, mend)
    own = checkup.api.find(f"{checkup.core}/secrets/{name}")
    lacking = [key for key in KEYS if not contents(own or {}).get(key)]
    if lacking:
        text = f"{DEFAULT_SECRET} names Secret {name}, which lacks {', '.join(lacking)}: no {role} starts"
        command = create_command if own is None else patch_command
        return Finding(what, "missing", text, command(checkup.namespace, name, lacking))
    if contents(own or {})["AWS_ACCESS_KEY_ID"] == steps.get("AWS_ACCESS_KEY_ID"):
        mend = patch_command(checkup.namespace, name, ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
        return Finding(what, "warn", f"Secret {name} holds the very keys of the steps", mend)
    return Finding(what, "ok", f"Secret {name}, whose keys are not the steps'")


def _named(checkup: Checkup, name: str) -> str:
    return f"system:serviceaccount:{checkup.namespace}:{name}"


def _look(checkup: Checkup, name: str) -> str:
    listed = f"kubectl auth can-i --list --as={_named(checkup, name)} -n {checkup.namespace}"
    bound = f"kubectl get rolebindings -n {checkup.namespace} -o wide | grep {name}"
    return f"{listed}; {bound}; then take the binding away, or narrow its Role by resourceNames (docs/manifests.md)"
