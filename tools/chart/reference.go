// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
)

// schema is the part of JSON Schema that values.schema.json uses.
type schema struct {
	Title       string
	Description string
	Type        json.RawMessage // one word or a list
	Enum        []string
	Ref         string `json:"$ref"`
	Properties  map[string]*schema
	Definitions map[string]*schema
}

// longDefault is the length of a default, as one line of JSON, above which the table points to values.yaml.
const longDefault = 60

// reference appends a Markdown page with every value of the chart: key, type, default and meaning. A value
// without description, or in only one of schema and defaults, is an error: the page is to be complete.
func reference(out *bytes.Buffer, dir string) error {
	c, err := loader.LoadDir(dir)
	if err != nil {
		return fmt.Errorf("loading: %w", err)
	}
	var root schema
	if err := json.Unmarshal(c.Schema, &root); err != nil {
		return fmt.Errorf("reading values.schema.json: %w", err)
	}
	fmt.Fprintf(out, "\n# %s\n\n", root.Title)
	fmt.Fprintln(out, "Wrong values and unknown keys are refused by helm, with the key and what it may be, before anything is changed. The fields of a\nschedule and the name of a time zone are beyond its means: the controller refuses them when it starts, and `drydock plan` says what is wrong.")
	p := page{out: out, definitions: root.Definitions}
	p.heading()
	return p.object("", &root, c.Values)
}

type page struct {
	out         *bytes.Buffer
	definitions map[string]*schema
}

func (p page) heading() {
	fmt.Fprint(p.out, "\n| Value | Type | Default | Meaning |\n|---|---|---|---|\n")
}

// object writes one row for each leaf below an object of the schema.
func (p page) object(prefix string, s *schema, defaults map[string]any) error {
	for key := range defaults {
		if s.Properties[key] == nil {
			return fmt.Errorf("value %s%s has a default, but the schema does not know it", prefix, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
		child := s.Properties[key]
		value, isSet := defaults[key]
		resolved, err := p.resolve(child)
		if err != nil {
			return fmt.Errorf("value %s%s: %w", prefix, key, err)
		}
		if inner, isMap := value.(map[string]any); isMap && len(resolved.Properties) > 0 {
			if err := p.object(prefix+key+".", resolved, inner); err != nil {
				return err
			}
			continue
		}
		description := child.Description
		if description == "" {
			description = resolved.Description
		}
		if description == "" {
			return fmt.Errorf("value %s%s has no description", prefix, key)
		}
		kind, err := typeOf(resolved)
		if err != nil {
			return fmt.Errorf("value %s%s: %w", prefix, key, err)
		}
		text := "unset"
		if isSet {
			data, err := json.Marshal(value)
			if err != nil {
				return err
			}
			if text = "`" + string(data) + "`"; len(data) > longDefault {
				text = "see `values.yaml`"
			}
		}
		fmt.Fprintf(p.out, "| `%s%s` | %s | %s | %s |\n", prefix, key, kind, text, strings.ReplaceAll(description, "|", "\\|"))
	}
	return nil
}

// resolve follows a reference into the schema's own definitions.
func (p page) resolve(s *schema) (*schema, error) {
	if s.Ref == "" {
		return s, nil
	}
	name, ok := strings.CutPrefix(s.Ref, "#/definitions/")
	if found := p.definitions[name]; ok && found != nil {
		return found, nil
	}
	return nil, fmt.Errorf("unknown reference %q", s.Ref)
}

func typeOf(s *schema) (string, error) {
	if len(s.Enum) > 0 {
		return "`" + strings.Join(s.Enum, "`, `") + "`", nil
	}
	var one string
	if json.Unmarshal(s.Type, &one) == nil {
		return one, nil
	}
	var several []string
	if err := json.Unmarshal(s.Type, &several); err != nil {
		return "", fmt.Errorf("reading type: %w", err)
	}
	return strings.Join(several, " or "), nil
}
