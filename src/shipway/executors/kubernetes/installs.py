"""What to type where a cluster lacks an operator: for errors, and for `shipway doctor --cluster`."""

_KUBEFLOW = "github.com/kubeflow"
TRAINING = (
    f'kubectl apply --server-side -k "{_KUBEFLOW}/training-operator.git/manifests/overlays/standalone?ref=v1.8.1"'
)
KSERVE = "kubectl apply --server-side -f https://github.com/kserve/kserve/releases/download/v0.15.0/kserve.yaml"
KATIB = f'kubectl apply -k "{_KUBEFLOW}/katib.git/manifests/v1beta1/installs/katib-standalone?ref=v0.19.0"'
