#!/bin/sh
# Stands in for go in the tests of src/binaries.rs; what it does depends on the name that it is called by.
case ${0##*/}:$1 in
  old:env) echo go1.20 ;;
  old:list) echo "too new" >&2; exit 1 ;;
  broken:build) echo "does not compile"; exit 2 ;;
  good:build)
    while [ "$1" != -o ]; do shift; done
    touch "$2"
    echo "$3" >> "${0%/*}/built"
    ;;
esac
