// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package tools is the module of the generators: controller-gen (a tool dependency in go.mod), the chart
// renderer in chart/, and the builder of container images in images/. It is apart from the product module so
// that what only generates and packs never chooses the versions of what ships.
package tools
