// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package helm is the module of the helm program (a tool dependency in go.mod), for the test that upgrades a release of
// Brupop as its users do. It is apart from other modules because of the many that it needs for registries and databases.
package helm
