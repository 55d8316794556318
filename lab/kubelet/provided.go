// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drydock-os/drydock/lab/network"
)

// apiService is where programs in pods find the API server by variables.
type apiService struct{ host, port string }

// nodeVars are the variables that every container gets. It waits for the API server's own service, which
// exists soon after the API server does.
func (k *Kubelet) nodeVars(ctx context.Context, hostname string) (*vars, error) {
	api, err := k.apiService(ctx)
	if err != nil {
		return nil, err
	}
	v := &vars{values: map[string]string{}}
	v.set("PATH", defaultPath)
	v.set("HOSTNAME", hostname)
	v.set("KUBERNETES_SERVICE_HOST", api.host)
	v.set("KUBERNETES_SERVICE_PORT", api.port)
	v.set("KUBERNETES_SERVICE_PORT_HTTPS", api.port)
	v.set("KUBERNETES_PORT", "tcp://"+api.host+":"+api.port)
	return v, nil
}

func (k *Kubelet) apiService(ctx context.Context) (apiService, error) {
	k.mu.Lock()
	known := k.api
	k.mu.Unlock()
	if known.host != "" {
		return known, nil
	}
	err := Retry(ctx, func() error {
		s, err := k.client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("looking up the API server's service: %w", err)
		}
		known.host, known.port = s.Spec.ClusterIP, "443"
		for _, p := range s.Spec.Ports {
			if p.Name == "https" {
				known.port = strconv.Itoa(int(p.Port))
			}
		}
		return nil
	})
	if err != nil {
		return apiService{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.api = known
	return known, nil
}

// maxHostname is the kernel's limit for a useful host name label.
const maxHostname = 63

// hostname is what programs in the pod take as the machine's name.
func (w *worker) hostname(pod *corev1.Pod) string {
	name := pod.Name
	switch {
	case pod.Spec.HostNetwork:
		name = w.k.cfg.NodeName
	case pod.Spec.Hostname != "":
		name = pod.Spec.Hostname
	}
	if len(name) > maxHostname {
		name = strings.TrimRight(name[:maxHostname], "-.")
	}
	return name
}

// nodeFiles are the files in /etc that make names work. Cluster DNS serves host-network pods too: the lab's
// hosts have no other.
func (w *worker) nodeFiles(pod *corev1.Pod) map[string]string {
	hostname := w.hostname(pod)
	hosts := "127.0.0.1\tlocalhost\n" + pod.Status.PodIP + "\t" + hostname + "\n"
	for _, a := range pod.Spec.HostAliases {
		hosts += a.IP + "\t" + strings.Join(a.Hostnames, "\t") + "\n"
	}
	resolv := fmt.Sprintf("nameserver %v\nsearch %s.svc.%s svc.%s %s\noptions ndots:5\n",
		w.k.cfg.Network.DNS(), pod.Namespace, network.Domain, network.Domain, network.Domain)
	return map[string]string{
		"/etc/hostname":    hostname + "\n",
		"/etc/hosts":       hosts,
		"/etc/resolv.conf": resolv,
	}
}
