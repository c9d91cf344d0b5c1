// Every part of Kubernetes, and etcd, in one binary: the name it is called by says which part it is.
package main

import (
	goflag "flag"
	"fmt"
	"math/rand"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.etcd.io/etcd/embed"

	_ "k8s.io/client-go/plugin/pkg/client/auth"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"

	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app/cmd"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var parts = map[string]func() *cobra.Command{
	"etcd":                    newEtcdCommand,
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllers.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kube-proxy":              proxy.NewProxyCommand,
	"kubelet":                 kubelet.NewKubeletCommand,
	"kubectl":                 kubectl.NewDefaultKubectlCommand,
	"kubeadm":                 func() *cobra.Command { return kubeadm.NewKubeadmCommand(os.Stdin, os.Stdout, os.Stderr) },
}

// newEtcdCommand gives a cluster of one member that listens on 127.0.0.1 only.
func newEtcdCommand() *cobra.Command {
	return &cobra.Command{
		Use:  "etcd DIRECTORY",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			config := embed.NewConfig()
			config.Dir, config.Logger, config.LogLevel = args[0], "zap", "warn"
			peer := url.URL{Scheme: "http", Host: "127.0.0.1:2380"}
			config.LPUrls, config.APUrls = []url.URL{peer}, []url.URL{peer}
			config.InitialCluster = config.InitialClusterFromName(config.Name)
			member, err := embed.StartEtcd(config)
			if err != nil {
				return err
			}
			return <-member.Err()
		},
	}
}

func main() {
	rand.Seed(time.Now().UnixNano())
	name := filepath.Base(os.Args[0])
	construct, known := parts[name]
	if !known {
		fmt.Fprintf(os.Stderr, "there is no part of Kubernetes named %q\n", name)
		os.Exit(2)
	}
	command := construct()
	// What the main functions of these three do, and those of the others do not.
	if name == "kube-scheduler" || name == "kube-proxy" || name == "kubectl" {
		pflag.CommandLine.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	}
	if name == "kube-proxy" || name == "kubectl" {
		pflag.CommandLine.AddGoFlagSet(goflag.CommandLine)
	}
	logs.InitLogs()
	defer logs.FlushLogs()
	if err := command.Execute(); err != nil {
		os.Exit(1)
	}
}
