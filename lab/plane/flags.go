// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plane

// auditPolicy records who did what to which object, once per request, without bodies: enough to count
// requests by user agent and to see which rights a component uses.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
`

func (p *Plane) etcdArgs() []string {
	const url = "http://127.0.0.1:2379"
	return []string{
		"--data-dir=" + p.path("etcd"),
		"--listen-client-urls=" + url, "--advertise-client-urls=" + url,
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--unsafe-no-fsync", // a lab does not outlive its machine
		"--log-level=warn",
	}
}

func (p *Plane) apiserverArgs() []string {
	return []string{
		"--etcd-servers=http://127.0.0.1:2379",
		// Only this address: Services of the cluster have port 443 on theirs.
		"--bind-address=" + p.cfg.ServiceIP.String(), "--secure-port=443",
		"--advertise-address=" + p.cfg.Address.String(),
		"--service-cluster-ip-range=" + p.cfg.ServiceCIDR.String(),
		"--client-ca-file=" + p.path("ca.crt"),
		"--tls-cert-file=" + p.path("apiserver.crt"), "--tls-private-key-file=" + p.path("apiserver.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + p.path("sa.pub"),
		"--service-account-signing-key-file=" + p.path("sa.key"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--kubelet-certificate-authority=" + p.path("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + p.path("kubelet-client.crt"), "--kubelet-client-key=" + p.path("kubelet-client.key"),
		"--audit-policy-file=" + p.path("audit.yaml"),
		"--audit-log-path=" + p.AuditLog(), "--audit-log-mode=blocking",
		"--audit-log-maxsize=0",
		"--profiling=false",
	}
}

func (p *Plane) controllerManagerArgs() []string {
	return []string{
		"--kubeconfig=" + p.path("kube-controller-manager.kubeconfig"),
		"--service-account-private-key-file=" + p.path("sa.key"),
		"--root-ca-file=" + p.path("ca.crt"),
		"--use-service-account-credentials=true",
		"--leader-elect=false",
		"--kube-api-qps=500", "--kube-api-burst=1000",
		"--bind-address=127.0.0.1", "--profiling=false",
	}
}

func (p *Plane) schedulerArgs() []string {
	return []string{
		"--kubeconfig=" + p.path("kube-scheduler.kubeconfig"),
		"--leader-elect=false",
		"--kube-api-qps=500", "--kube-api-burst=1000",
		"--bind-address=127.0.0.1", "--profiling=false",
	}
}
