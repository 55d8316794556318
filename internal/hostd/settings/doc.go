// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package settings knows every setting of a host: its name, what it may be, its default, and what is affected when it
// changes.
//
// Each setting is declared once, in a table of this package; validation, defaults, metadata and the reference page
// docs/host/settings.md all come from there. Which settings exist depends on the variant of the system: one of another
// variant is as unknown as a misspelt one. A Model is the settings of one variant. It accepts a value or refuses it with
// key, value and rule, so that nothing invalid reaches the store.
package settings
