// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package fleet is the lab's main job: a Kubernetes control plane, N hosts with real disks, a signed
// repository that offers a newer version, the operator from its own manifests, a workload with a
// PodDisruptionBudget, and a watch over all of it.
//
// It believes nothing that it can check: a node counts as updated when its machine booted the other
// slot and the root image in that slot says the new version; limits are checked on every watch event.
package fleet
