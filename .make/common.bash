# Read by the scripts beside it: where things lie, and how to speak.
# shellcheck shell=bash disable=SC2034
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

say() { printf '%s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Cargo as rustup leaves it, also for a shell that has not read its profile.
if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin/cargo" ]; then
  PATH=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:$PATH
fi

if [ "$(id -u)" = 0 ]; then
  cache=/var/cache/coffer
else
  cache=${HOME:?}/.cache/coffer
fi
engines=${COFFER_ENGINES:-$cache/engines}
client=$cache/client
schemathesis=$cache/schemathesis
sdks=$cache/sdks
linters=$cache/lint
# The pairs that every machine must have; postgresql-15 is also the service's own store.
engine_roots="mariadb-10.11 mariadb-11.8 postgresql-15 postgresql-17 postgresql-18"
# Older builds of two series, apart from the engines: only the tests of minor steps look at them.
builds=$cache/builds
build_roots="mariadb-10.11@release postgresql-15@release"
# What set-up installs. With what they depend on and what every Debian has (essential, or of priority `required`), this is
# all that our programs and tests may run: tests/it/machine.rs holds it.
# gcc and libpq link the binary; patchelf makes engines run from their folder; the rest fetches and unpacks.
build_packages="ca-certificates gcc libc6-dev libpq-dev make patchelf util-linux"
test_packages="python3 python3-venv"
bench_packages="wrk"
lint_packages="shellcheck"
