#!/bin/sh
# sealift @VERSION@ for @PLATFORM@: the program for a site. This readable script comes first, a gzip'ed tar follows.
#
#   sh install --help      also works where the media are read-only and may not execute (noexec, FAT)
#
# What it does: unpacks the tar once into a folder of the host, named by the digest of the tar, and starts the program
# there. It finds damage; it proves nothing: who made this file is told by its signature, install.sigstore.json, which
# a person checks before the first run. Once the host has a program of its own,
# ${SEALIFT_PREFIX:-/usr/local}/bin/sealift, that one goes on instead and judges the media; nothing is unpacked.
#
# The folder is the first of these that can be written and may execute:
#   $SEALIFT_RUNTIME_DIR                                 if set, only this one
#   ${SEALIFT_PREFIX:-/usr/local}/lib/sealift/runtime
#   ${SEALIFT_STATE_DIR:-/var/lib/sealift}/runtime
#   ${XDG_CACHE_HOME:-$HOME/.cache}/sealift/runtime      if the home folder is ours
#   a new folder in ${TMPDIR:-/tmp}                      taken away again when the program ends
#
# Needs sh tail gzip tar mkdir mv rm mktemp; takes sha256sum and sync where they are.

digest=@DIGEST@ # sha256 of everything after the script
offset=@OFFSET@ # the first byte of that, counted from 1
need=@MEGABYTES@ # MB that the unpacked program takes

# The host's wishes for its own programs are not for ours: its libraries fit its own loader.
unset LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT LD_DEBUG LD_BIND_NOW CDPATH GZIP TAR_OPTIONS
unset SEALIFT_RUNTIME_TEMPORARY

json='' question=''
for argument do
  case $argument in --json) json=1 ;; --help | --version) question=1 ;; --) break ;; esac
done

quoted() { # the text, as the inside of a JSON string
  rest=$1
  while [ -n "$rest" ]; do
    character=${rest%"${rest#?}"} rest=${rest#?}
    case $character in
      '"' | '\') printf '\\%s' "$character" ;;
      [[:cntrl:]]) printf ' ' ;;
      *) printf '%s' "$character" ;;
    esac
  done
}

fail() { # exit code, its name, error id, what happened, what to do
  if [ -n "$json" ]; then
    printf '{"error": {"code": %s, "name": "%s", "id": "%s", "message": "%s", "hint": "%s"}}\n' \
      "$1" "$2" "$3" "$(quoted "$4")" "$(quoted "$5")"
  else
    printf 'error: %s\nhint: %s\n' "$4" "$5" >&2
  fi
  exit "$1"
}

case $0 in */*) folder=${0%/*}/ ;; *) folder=. ;; esac
SEALIFT_MEDIA=$(cd -- "$folder" 2>/dev/null && pwd) || SEALIFT_MEDIA=
self=$SEALIFT_MEDIA/${0##*/}
[ -n "$SEALIFT_MEDIA" ] && [ -f "$self" ] && [ -r "$self" ] ||
  fail 7 host runtime-unusable "the program cannot find its own file" "start it by its path, such as: sh /media/usb/install"
export SEALIFT_MEDIA

start() { # folder of the unpacked program, the program's arguments
  runtime=$1
  shift
  [ -z "${SEALIFT_UNPACK_ONLY:-}" ] || { printf '%s\n' "$runtime"; exit 0; }
  exec /bin/sh "$runtime/start.sh" install "$@"
}

# Without sha256sum the checksum that gzip keeps has to do: it finds damage as well, only not on purpose.
is_whole() {
  if command -v sha256sum >/dev/null 2>&1; then
    found=$(tail -c "+$offset" "$self" 2>/dev/null | sha256sum) && [ "${found%% *}" = "$digest" ]
  else
    tail -c "+$offset" "$self" 2>/dev/null | gzip -t 2>/dev/null
  fi
}

refuse_damage() {
  fail 4 corrupt program-damaged "$self is damaged or incomplete" \
    "copy it again from where it came from, or use another medium; nothing was changed"
}

# start.sh is the last file of the tar, so its presence says that all of it is there.
is_there() { [ -f "$1/$digest/start.sh" ]; }

# --- the host's own program goes first ---------------------------------------------------------------------------

prefix=${SEALIFT_PREFIX:-/usr/local}
own= # the digest of the host's own program, where that is another one and can start
if [ -f "$prefix/bin/sealift" ] && [ -z "${SEALIFT_UNPACK_ONLY:-}" ]; then
  { read -r line && read -r line; } <"$prefix/bin/sealift" || line=
  case $line in '# sealift '*', put here by its first run; sha256:'*) own=${line##*sha256:} ;; esac
  case $own in "$digest" | *[!0-9a-f]*) own= ;; esac
  [ -f "$prefix/lib/sealift/runtime/$own/start.sh" ] || own=
fi
if [ -n "$own" ] && [ -z "$question" ]; then
  is_whole || refuse_damage
  exec /bin/sh "$prefix/bin/sealift" "$@"
fi

# --- this program ------------------------------------------------------------------------------------------------

# A home folder that is not ours (sudo keeps HOME) could hold anything under that name.
home=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
if [ -n "$home" ] && { [ -O "$home" ] || [ ! -e "$home" ]; } && [ -O "${HOME:-/nowhere}" ]; then
  home=$home/sealift/runtime
else
  home=
fi

if [ -n "${SEALIFT_RUNTIME_DIR:-}" ]; then
  first=$SEALIFT_RUNTIME_DIR second='' third=''
  case $first in /*) ;; *) first=$PWD/$first ;; esac
else
  first=$prefix/lib/sealift/runtime
  second=${SEALIFT_STATE_DIR:-/var/lib/sealift}/runtime
  third=$home
fi

for place in "$first" "$second" "$third"; do
  [ -n "$place" ] && is_there "$place" && start "$place/$digest" "$@"
done

# --- the first run on this host ----------------------------------------------------------------------------------

is_whole || refuse_damage

mask=$(umask)
new=
discard() { [ -z "$new" ] || rm -rf "$new"; new=; }
clean_up() { discard; [ -z "${SEALIFT_RUNTIME_TEMPORARY:-}" ] || rm -rf "$SEALIFT_RUNTIME_TEMPORARY"; }
trap clean_up EXIT
trap 'clean_up; exit 130' HUP INT TERM

read_payload() { # writes the tar; leaves a mark when the media stop being readable half way
  tail -c "+$offset" "$self" | gzip -dc || : >"$new/broken"
}

unpack_below() { # a folder; on failure $why says what is wrong with it
  umask 022
  new=$(mktemp -d "$1/.new.XXXXXX" 2>/dev/null) || { new=; why="cannot write to $1"; return 1; }
  mkdir "$new/$digest"
  complaint=$(read_payload 2>/dev/null | tar -xmof - -C "$new/$digest" 2>&1) || {
    discard
    is_whole || refuse_damage
    why="cannot unpack $need MB into $1: ${complaint%%
*}"
    return 1
  }
  is_there "$new" && [ ! -e "$new/broken" ] || refuse_damage
  "$new/$digest/@LOADER@" --version >/dev/null 2>&1 || {
    why="$1 may not execute programs (mounted noexec), or this is not a host for @PLATFORM@"
    discard
    return 1
  }
  # To the disk before it gets its name: a name stands for the whole content, after a power cut too.
  if command -v sync >/dev/null 2>&1; then sync -f "$new" 2>/dev/null || :; fi
  umask "$mask"
}

# Two first runs at once: the rename of one of them fails, as the other's folder is not empty.
unpack_into() { # a folder
  # A state dir or cache that does not exist yet is nobody else's business; /usr/local is everybody's.
  [ "$1" = "$first" ] || (umask 077 && mkdir -p "${1%/*}" 2>/dev/null)
  (umask 022 && mkdir -p "$1" 2>/dev/null)
  unpack_below "$1" || return 1
  mv "$new/$digest" "$1/" 2>/dev/null || is_there "$1" || { why="cannot rename in $1"; discard; return 1; }
  discard
}

start_for_one_run() {
  [ -z "${SEALIFT_RUNTIME_DIR:-}" ] || return 1
  # What is started there must not be somebody else's by then: a folder of ours, or one where only we can move ours.
  room=${TMPDIR:-/tmp}
  [ -O "$room" ] || [ -k "$room" ] || room=/tmp
  SEALIFT_RUNTIME_TEMPORARY=$(mktemp -d "$room/sealift.XXXXXX" 2>/dev/null) || { why="cannot write to $room"; return 1; }
  unpack_into "$SEALIFT_RUNTIME_TEMPORARY" ||
    { rm -rf "$SEALIFT_RUNTIME_TEMPORARY"; SEALIFT_RUNTIME_TEMPORARY=; return 1; }
  trap - EXIT HUP INT TERM
  export SEALIFT_RUNTIME_TEMPORARY
  start "$SEALIFT_RUNTIME_TEMPORARY/$digest" "$@"
}

[ -n "$json" ] || [ ! -t 2 ] || printf 'unpacking sealift @VERSION@ on this host, once\n' >&2
reasons=
# A stick that is only asked what it carries leaves nothing on a host with a program of its own.
[ -z "$own" ] || start_for_one_run "$@"
for place in "$first" "$second" "$third"; do
  [ -n "$place" ] || continue
  if unpack_into "$place"; then
    trap - EXIT HUP INT TERM
    start "$place/$digest" "$@"
  fi
  reasons="$reasons${reasons:+; }$why"
done
[ -n "$own" ] || start_for_one_run "$@"
fail 7 host runtime-unusable "no place for the program: ${reasons:-$why}" \
  "set SEALIFT_RUNTIME_DIR to a folder with $need MB free that can be written and may execute"
# Nothing after this line is script.
exit 1
