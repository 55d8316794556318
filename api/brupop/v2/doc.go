// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package v2 holds the stored version of the BottlerocketShadow API, group brupop.bottlerocket.aws,
// field for field as Bottlerocket's update operator defined it. Fields may be added, never changed:
// agents, dashboards and people's scripts of the original read these objects.
//
// +kubebuilder:object:generate=true
// +groupName=brupop.bottlerocket.aws
package v2
