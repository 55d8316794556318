// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package v1 holds the first version of the BottlerocketShadow API, group brupop.bottlerocket.aws. It is served for
// scripts that still ask for it and for objects that were stored in it, and converted from and to v2 by package
// conversion; nothing of ours reads or writes it.
//
// +kubebuilder:object:generate=true
// +groupName=brupop.bottlerocket.aws
package v1
