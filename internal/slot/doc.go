// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package slot decides which of two system images on a disk boots.
package slot
