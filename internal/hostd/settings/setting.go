// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

import "slices"

// setting declares one setting, or with a name in angle brackets as many as somebody chooses names.
type setting struct {
	key  string // below settings; <container> and the like stand for a name, see nameTypes
	of   Type
	doc  string             // a sentence
	only func(Variant) bool // default: in every variant

	initial   func(Variant) any    // default value; nil, also as a result: none
	generator func(Variant) string // command that finds a value at boot; nil or "": none
	services  []string             // affected by a change, where the variant has them; default: those of the group

	secret bool   // never shown in messages
	alias  string // another spelling of the last name, for input only
}

// group declares what is common to all settings whose key starts with its key.
type group struct {
	key      string
	doc      string
	services []string
	only     func(Variant) bool
}

// preset gives a value, or a way to find one, to a setting below a name that the system itself chose.
type preset struct {
	key       string
	only      func(Variant) bool
	initial   func(Variant) any
	generator func(Variant) string
}

// nameTypes are the names in angle brackets in keys.
var nameTypes = map[string]Type{
	"<container>": identifier, "<pod>": identifier, "<provider>": identifier, "<module>": kernelModule, "<sysctl>": sysctlKey,
	"<label>": labelKey, "<attribute>": ecsKey, "<signal>": evictionKey, "<resource>": reservedKey, "<node>": identifier, "<variable>": variable,
}

func value(v any) func(Variant) any { return func(Variant) any { return v } }

func onAWS(there, elsewhere any) func(Variant) any {
	return func(v Variant) any {
		if v.AWS {
			return there
		}
		return elsewhere
	}
}

func run(command string) func(Variant) string { return func(Variant) string { return command } }

func runOnAWS(there, elsewhere string) func(Variant) string {
	return func(v Variant) string {
		if v.AWS {
			return there
		}
		return elsewhere
	}
}

func kubernetes(v Variant) bool { return v.Kubernetes }
func ecs(v Variant) bool        { return v.ECS }
func aws(v Variant) bool        { return v.AWS }
func notAWS(v Variant) bool     { return !v.AWS }

// settings is every declaration.
var settings = slices.Concat(hostSettings, kubernetesSettings, ecsSettings)
