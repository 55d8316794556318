// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

// inKubernetes makes declarations of settings that only Kubernetes nodes have.
func inKubernetes(list ...setting) []setting {
	for i := range list {
		list[i].key = "kubernetes." + list[i].key
		list[i].only = kubernetes
	}
	return list
}

var kubernetesSettings = inKubernetes(
	setting{key: "cluster-name", of: clusterName, doc: "Name of the cluster; a node needs it to join."},
	setting{key: "cluster-certificate", of: base64Text, doc: "Certificate of the cluster's CA, PEM in base64; a node needs it to join."},
	setting{key: "api-server", of: urlText, doc: "URL of the cluster's API server; a node needs it to join."},
	setting{key: "node-labels.<label>", of: labelValue, doc: "Labels of the node when it joins."},
	setting{key: "node-taints.<label>", of: taints, doc: "Taints of the node when it joins, as `value:effect`."},
	setting{key: "cluster-domain", of: dnsDomain, doc: "DNS domain of the cluster.", initial: value("cluster.local")},
	setting{key: "max-pods", of: unsigned32, doc: "How many pods the node runs at most; on AWS what its network interfaces allow, otherwise 110.",
		generator: runOnAWS("pluto max-pods", "")},
	setting{key: "cluster-dns-ip", of: either(ipAddress, listOf(ipAddress)), doc: "Address of the cluster's DNS.", generator: runOnAWS("pluto cluster-dns-ip", "")},
	setting{key: "node-ip", of: ipAddress, doc: "Address under which the cluster knows the node.", generator: runOnAWS("pluto node-ip", "netdog node-ip")},
	setting{key: "pod-infra-container-image", of: singleLine, doc: "Image of the container that holds a pod's namespaces.",
		services: []string{"kubernetes", "containerd"}, generator: runOnAWS("pluto pod-infra-container-image", "")},

	setting{key: "authentication-mode", of: oneOf("aws", "tls"), doc: "How the node proves to the cluster who it is.", initial: onAWS("aws", "tls")},
	setting{key: "bootstrap-token", of: bootstrapToken, doc: "Token for joining in mode `tls`.", secret: true},
	setting{key: "standalone-mode", of: boolean, doc: "Run the kubelet without a cluster.", initial: value(false)},
	setting{key: "cloud-provider", of: oneOf("aws", "external", ""), doc: "Who tells the cluster about the machine.", initial: onAWS("external", "")},
	setting{key: "server-tls-bootstrap", of: boolean, doc: "Whether the cluster signs the certificate of the kubelet's own server.", initial: onAWS(true, false)},
	setting{key: "server-certificate", of: base64Text, doc: "Certificate of the kubelet's own server, PEM in base64."},
	setting{key: "server-key", of: base64Text, doc: "Its private key, PEM in base64.", secret: true},
	setting{key: "provider-id", of: urlText, doc: "The machine's name at its cloud.", generator: runOnAWS("pluto provider-id", "")},
	setting{key: "hostname-override", of: hostname, doc: "Name of the node, instead of the host's.", generator: runOnAWS("pluto hostname-override", "")},
	setting{key: "hostname-override-source", of: oneOf("private-dns-name", "instance-id"), doc: "Where the name of a node on AWS comes from.",
		initial: onAWS("private-dns-name", nil)},
	setting{key: "static-pods.<pod>.enabled", of: boolean, doc: "Whether the pod runs.", services: []string{"static-pods"}},
	setting{key: "static-pods.<pod>.manifest", of: base64Text, doc: "The pod, YAML in base64.", services: []string{"static-pods"}},
	setting{key: "credential-providers.<provider>.enabled", of: boolean, doc: "Whether the kubelet asks this program for registry credentials."},
	setting{key: "credential-providers.<provider>.cache-duration", of: duration, doc: "How long its answers hold."},
	setting{key: "credential-providers.<provider>.image-patterns", of: listOf(singleLine), doc: "The images that it is asked about."},
	setting{key: "credential-providers.<provider>.environment.<variable>", of: singleLine, doc: "Its environment, beside what the kubelet gives it."},

	setting{key: "eviction-hard.<signal>", of: threshold, doc: "Pods are evicted at once beyond this."},
	setting{key: "eviction-soft.<signal>", of: threshold, doc: "Pods are evicted after a grace period beyond this."},
	setting{key: "eviction-soft-grace-period.<signal>", of: duration, doc: "That grace period."},
	setting{key: "eviction-max-pod-grace-period", of: count32, doc: "Longest grace of a pod that is evicted softly, in seconds."},
	setting{key: "kube-reserved.<resource>", of: quantity, doc: "Kept for the kubelet and the container runtime; computed when not set."},
	setting{key: "system-reserved.<resource>", of: quantity, doc: "Kept for the system."},
	setting{key: "allowed-unsafe-sysctls", of: listOf(singleLine), doc: "Kernel parameters that pods may set although they are not safe."},
	setting{key: "registry-qps", of: signed32, doc: "Image pulls per second."},
	setting{key: "registry-burst", of: signed32, doc: "Image pulls at once."},
	setting{key: "event-qps", of: signed32, doc: "Events per second."},
	setting{key: "event-burst", of: signed32, doc: "Events at once."},
	setting{key: "kube-api-qps", of: signed32, doc: "Requests to the API server per second."},
	setting{key: "kube-api-burst", of: signed32, doc: "Requests to the API server at once."},
	setting{key: "container-log-max-files", of: signed32, doc: "Log files kept of each container."},
	setting{key: "container-log-max-size", of: quantity, doc: "Size at which a container's log is rotated."},
	setting{key: "cpu-cfs-quota-enforced", of: boolean, doc: "Whether CPU limits hold."},
	setting{key: "seccomp-default", of: boolean, doc: "Whether pods get the runtime's seccomp profile unless they say otherwise.", initial: value(false)},
	setting{key: "cpu-manager-policy", of: oneOf("none", "static"), doc: "Whether pods can have CPUs to themselves."},
	setting{key: "cpu-manager-reconcile-period", of: duration, doc: "How often the CPU manager looks again."},
	setting{key: "cpu-manager-policy-options", of: listOf(singleLine), doc: "Options of that policy."},
	setting{key: "topology-manager-policy", of: oneOf("none", "restricted", "best-effort", "single-numa-node"), doc: "How CPUs, memory and devices are aligned."},
	setting{key: "topology-manager-scope", of: oneOf("container", "pod"), doc: "What is aligned."},
	setting{key: "memory-manager-policy", of: oneOf("None", "Static"), doc: "Whether pods can have memory of one NUMA node to themselves."},
	setting{key: "memory-manager-reserved-memory.<node>.enabled", of: boolean, doc: "Whether the NUMA node keeps a reserve."},
	setting{key: "memory-manager-reserved-memory.<node>.memory", of: quantity, doc: "That reserve."},
	setting{key: "pod-pids-limit", of: signed64, doc: "Processes of a pod at most; -1 for no limit."},
	setting{key: "image-gc-high-threshold-percent", of: percent, doc: "Disk use at which unused images are removed; above the low one."},
	setting{key: "image-gc-low-threshold-percent", of: percent, doc: "Disk use at which that stops."},
	setting{key: "log-level", of: unsigned8, doc: "How much the kubelet logs."},
	setting{key: "shutdown-grace-period", of: duration, doc: "How long a shutdown waits for pods."},
	setting{key: "shutdown-grace-period-for-critical-pods", of: duration, doc: "The part of it that critical pods get."},
)
