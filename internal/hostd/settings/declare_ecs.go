// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

// inECS makes declarations of settings that only ECS container instances have.
func inECS(list ...setting) []setting {
	for i := range list {
		list[i].key = "ecs." + list[i].key
		list[i].only = ecs
	}
	return list
}

var ecsSettings = inECS(
	setting{key: "cluster", of: anyText, doc: "Name of the cluster; not set, the agent joins `default`."},
	setting{key: "instance-attributes.<attribute>", of: ecsValue, doc: "Attributes that task placement can ask for."},
	setting{key: "logging-drivers", of: listOf(singleLine), doc: "Log drivers that tasks may use.", initial: value([]any{"json-file", "awslogs", "none"})},
	setting{key: "allow-privileged-containers", of: boolean, doc: "Whether tasks may be privileged.", initial: value(false)},
	setting{key: "loglevel", of: oneOf("debug", "info", "warn", "error", "crit"), doc: "How much the agent logs.", initial: value("info")},
	setting{key: "enable-spot-instance-draining", of: boolean, doc: "Move tasks away when the cloud takes a spot instance back."},
	setting{key: "image-pull-behavior", of: oneOf("default", "always", "once", "prefer-cached"), doc: "When images are pulled anew.", initial: value("default")},
	setting{key: "container-stop-timeout", of: duration, doc: "How long a container has to stop by itself."},
	setting{key: "task-cleanup-wait", of: duration, doc: "How long stopped tasks are kept."},
	setting{key: "metadata-service-rps", of: signed64, doc: "Requests per second to the task metadata service."},
	setting{key: "metadata-service-burst", of: signed64, doc: "Requests at once to the task metadata service."},
	setting{key: "reserved-memory", of: unsigned16, doc: "Memory kept for the system, in MiB."},
	setting{key: "image-cleanup-enabled", of: boolean, doc: "Whether unused images are removed."},
	setting{key: "image-cleanup-wait", of: duration, doc: "How often that happens."},
	setting{key: "image-cleanup-age", of: duration, doc: "How long an image is kept at least."},
	setting{key: "image-cleanup-delete-per-cycle", of: signed64, doc: "How many images go each time."},
	setting{key: "backend-host", of: anyText, doc: "Host of the ECS service, instead of the region's."},
	setting{key: "awsvpc-block-imds", of: boolean, doc: "Keep tasks in mode `awsvpc` away from the instance metadata service."},
	setting{key: "enable-container-metadata", of: boolean, doc: "Write a file with metadata into each container."},
)
