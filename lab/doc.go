// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package lab holds the scenarios: whole fleets that are updated, damaged and killed by the lab's
// program, as a user would run it. Each scenario is one script below scenarios/.
package lab
