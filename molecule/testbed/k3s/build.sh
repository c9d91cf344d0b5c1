#!/bin/bash
# Build a release in the shape of K3s' from Debian's Kubernetes source package, or find the one built earlier.
#   build.sh CACHE VERSION      prints the folder with k3s, sha256sum-ARCH.txt and k3s-airgap-images-ARCH.tar.gz
# Says on stderr what it builds, and nothing when all is there. The folders are named by what went into them.
set -euo pipefail
cache=$(realpath --canonicalize-missing "$1")
version=$2
here=$(dirname "$(readlink -f "$0")")
export here work # for mmdebstrap's hooks
cd "$here"

# hash_of FILE...: one short hash of contents and names
hash_of() { sha256sum "$@" | sha256sum | cut -c1-16; }

work=
trap '[ -z "$work" ] || rm -rf --one-file-system "$work"' EXIT

# A folder appears under its name only when it is complete.
begin() { mkdir -p "$(dirname "$1")" && work=$(mktemp -d "$1.XXXXXX"); }
finish() {
  chmod 755 "$work"
  mv --no-target-directory "$work" "$1" 2>/dev/null || [ -d "$1" ] # another run may have been faster
}

binaries=$cache/kubernetes/$(hash_of compile.sh main.go pinned.go pause.c)
if [ ! -d "$binaries" ]; then
  echo "Compiling Kubernetes, about five minutes on two cores" >&2
  begin "$binaries"
  # The compiler lives in a throw-away root of Debian packages. The hooks expand "$1", that root, themselves.
  # shellcheck disable=SC2016
  TMPDIR=$work mmdebstrap --variant=minbase --format=null --quiet \
    --include=golang-1.19-go,golang-github-modern-go-reflect2-dev,dpkg-dev,gcc,libc6-dev,make,rsync,which,xz-utils \
    --customize-hook='find "$1/etc/apt" -name "*.list" -o -name "*.sources" |
      xargs sed -i -E "s/^deb (.*)/&\ndeb-src \1/; s/^Types: deb$/Types: deb deb-src/"' \
    --customize-hook='mkdir "$1/build"; cp "$here/compile.sh" "$here/main.go" "$here/pinned.go" "$here/pause.c" "$1/build"' \
    --customize-hook='cd "$1/build"; export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"; apt-get update -qq;
      apt-get source -qq --download-only -o APT::Sandbox::User=root kubernetes' \
    --customize-hook='chroot "$1" bash /build/compile.sh' \
    --customize-hook='cp "$1"/build/out/* "$work"' \
    bookworm >&2
  finish "$binaries"
fi

release=$cache/k3s/$version-$(hash_of compile.sh main.go pinned.go pause.c pack.py launcher/*.py launcher/files/*)
if [ ! -d "$release" ]; then
  echo "Packing $version" >&2
  begin "$release"
  python3 "$here/pack.py" "$binaries" "$version" "$work"
  finish "$release"
fi
echo "$release"
