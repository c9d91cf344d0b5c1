#!/usr/bin/env bash
# Prints the path of the first usable Python of these versions, in the order given: find_python.sh 3.13 3.12
# Usable is one that runs, as a shim of pyenv's may not, and can make a virtual environment.
set -euo pipefail
shopt -s nullglob

# Whether it is, and where the interpreter itself lies: not within an environment that is about to be made anew.
inspect='
import os, ssl, sys, venv, ensurepip
"{}.{}".format(*sys.version_info) == sys.argv[1] or sys.exit(1)
print(os.path.realpath(sys.executable))
'
pyenv=$(pyenv root 2>/dev/null || true)
for version; do
  for python in $(type -ap "python$version" python3) ${pyenv:+"$pyenv/versions/$version".*/bin/python3}; do
    "$python" -c "$inspect" "$version" 2>/dev/null && exit
  done
done
echo "None of these Pythons is here and can make a virtual environment: $*. Install one, on Debian and Ubuntu with its package" \
  "python3-venv too, or name one: make PYTHON=/path/to/python3" >&2
exit 1
