# Shared by the scripts in this folder; sourced, never run.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${SEALIFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sealift}

# A user's PATH on Debian lacks where daemons and network tools are.
export PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*"; }

# Ends with a message and, where there is one, the way out.
die() {
  printf 'error: %s\n' "$1" >&2
  [ -z "${2:-}" ] || printf ' hint: %s\n' "$2" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Runs the calling script again as root, with what it may need of the environment. Does nothing for root.
become_root() {
  [ "$(id -u)" != 0 ] || return 0
  local passed=("PATH=$PATH") name
  for name in KEEP CI TERM DOCKER_HOST SOURCE_DATE_EPOCH "${!SEALIFT_@}"; do
    [ -z "${!name:-}" ] || passed+=("$name=${!name}")
  done
  exec sudo env "${passed[@]}" "$repository/.ci/$(basename "$0")" "$@"
}

# Mirrors and indexes stumble now and then: three tries, with a pause.
retry() {
  local attempt
  for attempt in 1 2 3; do
    "$@" && return 0
    [ "$attempt" != 3 ] || return 1
    say "try $attempt failed, once more in $((attempt * 5)) s: $1" >&2
    sleep $((attempt * 5))
  done
}

engine_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
