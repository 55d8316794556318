// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

// groups in the order of the reference page.
var groups = []group{
	{key: "motd", services: []string{"motd"}},
	{key: "updates", doc: "Where updates come from, and which of them this host takes.", services: []string{"updog"}},
	{key: "host-containers", doc: "Containers that run beside the orchestrator, for people and agents that look after the host.", services: []string{"host-containers"}},
	{key: "bootstrap-containers", doc: "Containers that run at boot, before the orchestrator starts.", services: []string{"bootstrap-containers"}},
	{key: "network", doc: "Names and proxies.", services: []string{"hosts"}},
	{key: "dns", doc: "How names are looked up.", services: []string{"dns"}},
	{key: "ntp", doc: "How the clock is kept right.", services: []string{"ntp"}},
	{key: "kernel", doc: "What the kernel allows."},
	{key: "container-registry", doc: "Where images are pulled from.", services: []string{"containerd", "host-containers"}},
	{key: "aws", doc: "The account and region that the host works in.", services: []string{"aws"}},
	{key: "kubernetes", doc: "The node's part in its Kubernetes cluster.", services: []string{"kubernetes"}, only: kubernetes},
	{key: "ecs", doc: "The host's part in its ECS cluster.", services: []string{"ecs"}, only: ecs},
}

var hostSettings = []setting{
	{key: "motd", of: anyText, doc: "Shown to people who log in.", initial: value("Welcome to Bottlerocket!")},

	{key: "updates.metadata-base-url", of: urlText, doc: "Folder of the update repository's metadata.",
		generator: run("schnauzer-v2 render --template 'https://updates.bottlerocket.aws/2020-07-07/{{ os.variant_id }}/{{ os.arch }}/'")},
	{key: "updates.targets-base-url", of: urlText, doc: "Folder of the images that the metadata names.", initial: value("https://updates.bottlerocket.aws/targets/")},
	{key: "updates.seed", of: unsigned32, doc: "Place of this host in the waves of an update: 0 comes first, 2047 last.", generator: run("bork seed")},
	{key: "updates.version-lock", of: versionLock, doc: "The version to run, `latest` for the newest; an older one is a downgrade.", initial: value("latest")},
	{key: "updates.ignore-waves", of: boolean, doc: "Take updates at once, whatever their waves say.", initial: value(false)},
	{key: "updates.legacy-waves", of: boolean, doc: "Take the turn in the waves that the original client would take. Not set, it does not."},
	{key: "updates.rate-limit", of: rate, doc: "Most bytes per second that a download takes; 0 for no limit, as when it is not set."},

	{key: "host-containers.<container>.source", of: urlText, doc: "Image of the container."},
	{key: "host-containers.<container>.enabled", of: boolean, doc: "Whether it runs."},
	{key: "host-containers.<container>.superpowered", of: boolean, doc: "Whether it may do almost anything to the host."},
	{key: "host-containers.<container>.user-data", of: base64Text, doc: "What the container finds in its `user-data` file.", secret: true},

	{key: "bootstrap-containers.<container>.source", of: urlText, doc: "Image of the container."},
	{key: "bootstrap-containers.<container>.mode", of: oneOf("off", "once", "always"), doc: "At which boots it runs; `once` turns to `off` by itself. Not set, it is `off`."},
	{key: "bootstrap-containers.<container>.essential", of: boolean, doc: "Whether the boot stops when it fails. Not set, it does not."},
	{key: "bootstrap-containers.<container>.user-data", of: base64Text, doc: "What the container finds in its `user-data` file.", secret: true},

	{key: "network.hostname", of: hostname, doc: "Name of the host.", services: []string{"hostname", "hosts"}, generator: run("netdog generate-hostname")},
	{key: "network.hosts", of: hostEntries, doc: "Further lines of `/etc/hosts`."},
	{key: "network.https-proxy", of: urlText, doc: "Proxy for HTTPS, of the host's own programs and of its containers' downloads.", services: proxied},
	{key: "network.no-proxy", of: listOf(singleLine), doc: "Hosts that are reached without the proxy.", services: proxied},

	{key: "dns.name-servers", of: listOf(ipAddress), doc: "Name servers, instead of those that DHCP names."},
	{key: "dns.search-list", of: listOf(hostname), doc: "Domains that short names are looked up in."},

	{key: "ntp.time-servers", of: listOf(urlText), doc: "Servers to take the time from.",
		initial: onAWS([]any{"169.254.169.123", "2.amazon.pool.ntp.org"}, []any{"2.amazon.pool.ntp.org"})},
	{key: "ntp.options", of: listOf(singleLine), doc: "Options of each server, as chrony knows them.", initial: value([]any{"iburst"})},

	{key: "kernel.lockdown", of: oneOf("none", "integrity", "confidentiality"), doc: "What even root may not do to the kernel. Lowering it needs a reboot.",
		services: []string{"lockdown"}, initial: func(v Variant) any {
			if v.Nvidia || v.Dev && !v.AWS {
				return "none"
			}
			return "integrity"
		}},
	{key: "kernel.modules.<module>.allowed", of: boolean, doc: "Whether the module may be loaded.", services: []string{"kernel-modules"}},
	{key: "kernel.modules.<module>.autoload", of: boolean, doc: "Whether it is loaded at boot.", services: []string{"kernel-modules"}},
	{key: "kernel.sysctl.<sysctl>", of: anyText, doc: "Value of a kernel parameter below `/proc/sys`.", services: []string{"sysctl"}},

	{key: "container-registry.mirrors", of: mirrors, doc: "Mirrors to ask, in this order, before a registry itself."},
	{key: "container-registry.credentials", of: credentials, doc: "What to show to registries that want to know who asks.", secret: true, alias: "creds"},

	{key: "aws.region", of: singleLine, doc: "Region; found out at the first boot on AWS.", services: []string{"aws", "updog", "host-containers"}},
	{key: "aws.profile", of: singleLine, doc: "Profile in the two files below.", initial: value("default")},
	{key: "aws.config", of: base64Text, doc: "Content of `/root/.aws/config`."},
	{key: "aws.credentials", of: base64Text, doc: "Content of `/root/.aws/credentials`.", secret: true},
}

// proxied are the services that reach out of the host; of the orchestrators a variant has at most one.
var proxied = []string{"containerd", "host-containerd", "host-containers", "updog", "kubernetes", "ecs"}

var presets = []preset{
	{key: "host-containers.admin.enabled", initial: value(false)},
	{key: "host-containers.admin.superpowered", initial: value(true)},
	{key: "host-containers.admin.source", initial: onAWS(nil, "public.ecr.aws/bottlerocket/bottlerocket-admin:v0.11.13"),
		generator: runOnAWS(ecrImage("bottlerocket-admin:v0.11.13"), "")},
	{key: "host-containers.admin.user-data", only: aws, generator: run("shibaken generate-admin-userdata")},
	{key: "host-containers.control.enabled", initial: onAWS(true, false)},
	{key: "host-containers.control.superpowered", initial: value(false)},
	{key: "host-containers.control.source", initial: onAWS(nil, "public.ecr.aws/bottlerocket/bottlerocket-control:v0.7.17"),
		generator: runOnAWS(ecrImage("bottlerocket-control:v0.7.17"), "")},
	{key: "kubernetes.credential-providers.ecr-credential-provider.enabled", only: onAWSKubernetes, initial: value(true)},
	{key: "kubernetes.credential-providers.ecr-credential-provider.cache-duration", only: onAWSKubernetes, initial: value("12h")},
	{key: "kubernetes.credential-providers.ecr-credential-provider.image-patterns", only: onAWSKubernetes, initial: value([]any{
		"*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com.cn", "*.dkr.ecr-fips.*.amazonaws.com", "*.dkr.ecr.us-iso-east-1.c2s.ic.gov", "*.dkr.ecr.us-isob-east-1.sc2s.sgov.gov"})},
}

func onAWSKubernetes(v Variant) bool { return v.AWS && v.Kubernetes }

// ecrImage is the generator of an image in the registry of the host's region.
func ecrImage(image string) string {
	return "schnauzer-v2 render --requires 'aws@v1(helpers=[ecr-prefix])' --template '{{ ecr-prefix settings.aws.region }}/" + image + "'"
}
