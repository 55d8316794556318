// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// redacted stands where something secret was.
const redacted = "REDACTED"

// secretName matches the names of variables whose values are never passed on.
var secretName = regexp.MustCompile(`(?i)token|secret|password|passwd|credential|key`)

// secretText matches what gives a secret away in a text, whatever it is called. The first group is kept.
var secretText = []*regexp.Regexp{
	// A JSON web token: two parts of base64url that begin with an opening brace, and a signature.
	regexp.MustCompile(`()\beyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?`),
	regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}`),
	// The password of a URL.
	regexp.MustCompile(`(://[^\s/@:]*:)[^\s/@]+(?:@)`),
	// name=value and "name": "value".
	regexp.MustCompile(`(?i)([\w.-]*(?:token|secret|password|passwd|credential|api[_-]?key|private[_-]?key|access[_-]?key)[\w.-]*\\?["']?\s?[=:]\s?\\?["']?)[^\s"'\\,;&)}\]]+`),
	regexp.MustCompile(`()(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`),
}

// redactText takes secrets out of a text.
func redactText(s string) string {
	for _, re := range secretText {
		replacement := "${1}" + redacted
		if strings.HasPrefix(re.String(), "(://") {
			replacement += "@"
		}
		s = re.ReplaceAllString(s, replacement)
	}
	return s
}

// redactObject turns an object into what may be passed on: without managed fields and copies of the manifest,
// values of variables with telling names replaced, and every text gone through.
func redactObject(obj client.Object) (map[string]any, error) {
	obj.SetManagedFields(nil)
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("reading %T %s: %w", obj, obj.GetName(), err)
	}
	if meta, ok := m["metadata"].(map[string]any); ok {
		if notes, ok := meta["annotations"].(map[string]any); ok {
			delete(notes, corev1.LastAppliedConfigAnnotation)
			for name := range notes {
				if secretName.MatchString(name) {
					notes[name] = redacted
				}
			}
		}
	}
	return redactTree(m).(map[string]any), nil
}

// redactTree goes through maps, lists and texts.
func redactTree(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if name, ok := v["name"].(string); ok && secretName.MatchString(name) {
			if _, has := v["value"]; has {
				v["value"] = redacted
			}
		}
		for k := range v {
			v[k] = redactTree(v[k])
		}
	case []any:
		for i := range v {
			v[i] = redactTree(v[i])
		}
		redactArguments(v)
	case string:
		return redactText(v)
	}
	return v
}

// redactArguments handles a secret that follows its flag as an argument of its own.
func redactArguments(list []any) {
	for i := range len(list) - 1 {
		flag, ok := list[i].(string)
		if !ok || !strings.HasPrefix(flag, "-") || strings.Contains(flag, "=") || !secretName.MatchString(flag) {
			continue
		}
		if value, ok := list[i+1].(string); ok && !strings.HasPrefix(value, "-") {
			list[i+1] = redacted
		}
	}
}

// redactedYAML is objects as a stream of YAML documents.
func redactedYAML[T any, P interface {
	*T
	client.Object
}](items []T) ([]byte, error) {
	var out []byte
	for i := range items {
		m, err := redactObject(P(&items[i]))
		if err != nil {
			return nil, err
		}
		doc, err := yaml.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("encoding an object: %w", err)
		}
		out = append(append(out, "---\n"...), doc...)
	}
	return out, nil
}
