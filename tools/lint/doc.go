// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package lint is the module of golangci-lint (a tool dependency in go.mod). It is apart from every other
// module because its authors test it only with exactly the versions that it requires.
package lint
