#!/bin/bash
# Runs inside the disposable build root: the Debian source in this folder + main.go + pinned.go + pause.c -> out/.
set -euo pipefail
cd /build
version=v1.20.2+testbed0
mkdir -p out gopath/src/k8s.io
echo "$version" >out/version

gcc -O2 -static -s -o out/pause pause.c

dpkg-source --no-check --extract kubernetes_*.dsc gopath/src/k8s.io/kubernetes >/dev/null
cd gopath/src/k8s.io/kubernetes

# The vendored reflect2 1.0.1 corrupts memory when built by Go 1.18 or newer.
rm vendor/github.com/modern-go/reflect2/*.{go,s}
cp /usr/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} vendor/github.com/modern-go/reflect2/
# Ten idle seconds before the first node gets its pod range.
sed -i '126s/10\*time.Second/100*time.Millisecond/' pkg/controller/nodeipam/ipam/cidr_allocator.go
# A warning about a deprecated package that every part would print on stderr.
sed -i '/^\tfmt\.Fprint(os\.Stderr,/,/)$/d' vendor/github.com/golang/protobuf/protoc-gen-go/generator/generator.go
# Pinned images count as in use: this kubelet does not know of them.
cp /build/pinned.go pkg/kubelet/images/
sed -i 's/^\timages, err := im.runtime.ListImages()$/\timagesInUse.Insert(im.pinned()...)\n&/' pkg/kubelet/images/image_gc_manager.go
grep -q 'im.pinned()' pkg/kubelet/images/image_gc_manager.go

export PATH=/usr/lib/go-1.19/bin:$PATH GOCACHE=/tmp/gocache CGO_ENABLED=0 HOME=/tmp
go version | cut -d' ' -f3 >/build/out/go
make generated_files GOFLAGS='' KUBE_BUILD_PLATFORMS="linux/$(dpkg --print-architecture)" >/dev/null

ldflags='-s -w'
for package in component-base client-go/pkg; do # kubeadm reads the second
  package=k8s.io/kubernetes/vendor/k8s.io/$package/version
  ldflags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=20"
  ldflags+=" -X $package.gitTreeState=archive -X $package.gitCommit=debian -X $package.buildDate=2021-01-13T00:00:00Z"
done
mkdir cmd/testbed
cp /build/main.go cmd/testbed/
GOPATH=/build/gopath GO111MODULE=off go build -trimpath -tags 'providerless dockerless' -ldflags "$ldflags" \
  -o /build/out/kubernetes k8s.io/kubernetes/cmd/testbed
