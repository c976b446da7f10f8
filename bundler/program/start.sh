#!/bin/sh
# sealift @VERSION@: starts the program in this folder, with the loader and the libraries that lie beside it.
#
#   /bin/sh start.sh NAME [ARGUMENT...]      NAME is what the program calls itself
#
# Nothing of the host's Python, libraries or OpenSSL settings has a say; children of the program get the host's own.
here=${0%/*}
name=$1
shift
unset LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT LD_DEBUG LD_BIND_NOW GCONV_PATH LOCPATH
unset OPENSSL_MODULES OPENSSL_ENGINES
OPENSSL_CONF=$here/etc/openssl.cnf
export OPENSSL_CONF
if [ -z "${LC_ALL:-}${LC_CTYPE:-}${LANG:-}" ]; then
  LANG=C.UTF-8
  export LANG
fi
exec "$here/@LOADER@" --inhibit-cache --argv0 "$here/bin/python3.11" --library-path "$here/glibc" \
  "$here/bin/python3.11" -IB -X utf8 "$here/bin/start.py" "$name" "$@"
