// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package deploy carries the operator's static manifest, as it is applied to clusters, inside programs
// that install it: the lab installs the very objects that a cluster would get.
package deploy

import _ "embed"

// Manifest is bottlerocket-update-operator.yaml: every object of the operator, from the Helm chart.
//
//go:embed bottlerocket-update-operator.yaml
var Manifest []byte
