package images

import (
	"os/exec"
	"strings"

	"k8s.io/kubernetes/pkg/kubelet/container"
)

// pinned gives the IDs of the images that garbage collection leaves alone, as newer kubelets do. Here containerd is asked for
// the label itself: the kubelet and the containerd of Debian do not yet speak of it with each other.
func (im *realImageGCManager) pinned() []string {
	listed, err := exec.Command("ctr", "--address", "/run/k3s/containerd/containerd.sock", "--namespace", "k8s.io",
		"images", "list", "--quiet", `labels."io.cri-containerd.pinned"==pinned`).Output()
	if err != nil {
		return nil
	}
	var found []string
	for _, name := range strings.Fields(string(listed)) {
		if id, err := im.runtime.GetImageRef(container.ImageSpec{Image: name}); err == nil && id != "" {
			found = append(found, id)
		}
	}
	return found
}
