// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

import (
	"slices"
	"strings"
)

// Variant is what the settings of a system depend on, read from its name: <platform>-<runtime>-…, such as
// aws-k8s-1.33-nvidia, aws-ecs-2, metal-dev.
type Variant struct {
	AWS        bool // runs on AWS
	Kubernetes bool // is a Kubernetes node
	ECS        bool // is an ECS container instance
	Nvidia     bool // has drivers that no locked down kernel loads
	Dev        bool // for people who work on it
}

// ParseVariant never fails: a name that follows no pattern is a host without orchestrator and without AWS.
func ParseVariant(name string) Variant {
	parts := strings.Split(name, "-")
	has := func(part string) bool { return slices.Contains(parts, part) }
	return Variant{AWS: parts[0] == "aws", Kubernetes: has("k8s"), ECS: has("ecs"), Nvidia: has("nvidia"), Dev: has("dev")}
}
