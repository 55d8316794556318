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
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"
)

// redacted stands where something secret was.
const redacted = "REDACTED"

// secretName matches the names of variables whose values are never passed on.
var secretName = regexp.MustCompile(`(?i)token|secret|password|passwd|credential|key`)

// secretText matches what gives a secret away in a text, whatever it is called, and says what to put there.
var secretText = []struct {
	pattern     *regexp.Regexp
	replacement string
}{
	// A JSON web token: two parts of base64url that begin with an opening brace, and a signature.
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?`), redacted},
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`), redacted},
	{regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}`), "${1}" + redacted},
	// The password of a URL.
	{regexp.MustCompile(`(://[^\s/@:]*:)[^\s/@]+@`), "${1}" + redacted + "@"},
	// name=value, and "name": "value" also inside of a quoted text.
	{regexp.MustCompile(`(?i)(` + telling + `\\?["']?=\\?["']?)[^\s"'\\,;&)}\]]+`), "${1}" + redacted},
	{regexp.MustCompile(`(?i)(` + telling + `\\?["']?\s?:\s?\\?["'])[^"'\\]+`), "${1}" + redacted},
	// name: value, where the value is not the next word of a sentence.
	{regexp.MustCompile(`(?i)((?:password|passwd)[\w.-]*["']?:\s?)[^\s"'\\,;&)}\]]+`), "${1}" + redacted},
	{regexp.MustCompile(`(?i)(` + telling + `["']?:\s?)[^\s"'\\,;&)}\]]*[0-9][^\s"'\\,;&)}\]]{6,}`), "${1}" + redacted},
}

// telling matches the name of a value that is secret, within a text.
const telling = `[\w.-]*(?:token|secret|password|passwd|credential|api[_-]?key|private[_-]?key|access[_-]?key)[\w.-]*`

// redactText takes secrets out of a text.
func redactText(s string) string {
	for _, t := range secretText {
		s = t.pattern.ReplaceAllString(s, t.replacement)
	}
	return s
}

// redactObject turns an object into what may be passed on: without managed fields and copies of the manifest,
// values of variables with telling names replaced, and every text gone through.
func redactObject(obj client.Object, kinds *runtime.Scheme) (map[string]any, error) {
	obj.SetManagedFields(nil)
	if gvk, err := apiutil.GVKForObject(obj, kinds); err == nil {
		obj.GetObjectKind().SetGroupVersionKind(gvk) // lists leave it out of their items
	}
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
	kinds := scheme()
	var out []byte
	for i := range items {
		m, err := redactObject(P(&items[i]), kinds)
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
