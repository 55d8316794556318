// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package drydock is the root of the module and holds no code. Its tests keep the rules of the tree:
// who may import whom, package docs, licence headers, and that the documents name things that exist.
package drydock
