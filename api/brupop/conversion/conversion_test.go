// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package conversion

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func decode(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return o
}

func convert(t *testing.T, raw, to string) string {
	t.Helper()
	got, err := Object([]byte(raw), to)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

const metadata = `"metadata":{"name":"brs-n","namespace":"ns","uid":"u","resourceVersion":"7","generation":3,
	"labels":{"a":"b"},"annotations":{"c":"d"},"finalizers":["f"],"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"n","uid":"nu"}]}`

func object2(spec, status string) string {
	return `{"apiVersion":"` + v2 + `","kind":"BottlerocketShadow",` + metadata + `,"spec":` + spec + `,"status":` + status + `}`
}

func object1(spec, status string) string {
	return strings.Replace(object2(spec, status), v2, v1, 1)
}

// D4, D11: labels, annotations, crash count and the failed state were lost on the way.
func TestD4AndD11RoundTripsAreExact(t *testing.T) {
	const bad = `"state_transition_timestamp":"not a time"` // D12: no field is parsed that need not be
	for _, tc := range []struct{ version, object, shown string }{
		{v2, object2(`{"state":"Idle"}`, `null`), `"state":"Idle"`},
		{v2, object2(`{"state":"StagedAndPerformedUpdate",`+bad+`,"version":"1.2.3"}`,
			`{"current_version":"1.2.2","target_version":"1.2.3","current_state":"ErrorReset","crash_count":4294967295,"state_transition_failure_timestamp":"t","message":"m","last_error":"e","slot":"A","boot_id":"b","later":{"x":[1,2.5]}}`),
			`"current_state":"MonitoringUpdate"`},
		{v2, object2(`{"state":"RebootedIntoUpdate","state_transition_timestamp":null,"version":null}`,
			`{"current_version":"1.2.2","target_version":"99999999999999999999999.0.0","current_state":"StagedAndPerformedUpdate","crash_count":1}`), `"current_state":"StagedUpdate"`},
		{v1, object1(`{"state":"PerformedUpdate","version":"1.2.3"}`, `{"current_version":"1.2.2","target_version":"1.2.3","current_state":"PerformedUpdate"}`), `"crash_count":0`},
		{v1, object1(`{"state":"StagedUpdate"}`, `{"current_version":"1.2.2","target_version":"1.2.3","current_state":"Idle"}`), `"state":"StagedAndPerformedUpdate"`},
	} {
		other := map[string]string{v1: v2, v2: v1}[tc.version]
		there := convert(t, tc.object, other)
		if !strings.Contains(there, tc.shown) {
			t.Errorf("%s is not in %s", tc.shown, there)
		}
		m := decode(t, []byte(there))["metadata"].(map[string]any)
		if m["labels"].(map[string]any)["a"] != "b" || m["annotations"].(map[string]any)["c"] != "d" || m["generation"] != 3.0 {
			t.Errorf("metadata: %v", m)
		}
		back := decode(t, []byte(convert(t, there, tc.version)))
		if tc.version == v1 { // the note is for the next reader of v1 only
			delete(back["metadata"].(map[string]any)["annotations"].(map[string]any), V2Annotation)
		}
		if diff := cmp.Diff(decode(t, []byte(tc.object)), back); diff != "" {
			t.Errorf("round trip from %s (-want +got):\n%s", tc.version, diff)
		}
	}
}

// What a writer of v1 changed counts; what it could not see stays.
func TestWritesInV1Count(t *testing.T) {
	shown := convert(t, object2(`{"state":"MonitoringUpdate","version":"1.2.3"}`,
		`{"current_version":"1.2.2","target_version":"1.2.3","current_state":"ErrorReset","crash_count":2,"last_error":"e"}`), v1)
	changed := decode(t, []byte(shown))
	changed["spec"] = map[string]any{"state": "Idle"} // and no version
	raw, err := json.Marshal(changed)
	if err != nil {
		t.Fatal(err)
	}
	got := decode(t, []byte(convert(t, string(raw), v2)))
	if diff := cmp.Diff(map[string]any{"state": "Idle"}, got["spec"]); diff != "" {
		t.Error(diff)
	}
	status := got["status"].(map[string]any)
	if status["current_state"] != "ErrorReset" || status["crash_count"] != 2.0 || status["last_error"] != "e" {
		t.Errorf("status: %v", status)
	}
}

func review2(objects ...string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","request":{"uid":"r","desiredAPIVersion":"%s","objects":[%s]}}`, v2, strings.Join(objects, ","))
}

// D3, D12: the reason of a failure was lost, or the connection.
func TestD3AndD12BadObjectsFailWithTheirReason(t *testing.T) {
	good := object1(`{"state":"Idle"}`, `null`)
	for _, tc := range []struct{ name, object, reason string }{
		{"no state", object1(`{}`, `null`), "ns/brs-n: spec.state is missing or no text"},
		{"a state of v2", object1(`{"state":"ErrorReset"}`, `null`), `spec.state is "ErrorReset", which is not a state`},
		{"no spec", object1(`null`, `null`), "spec is missing"},
		{"a list as status", object1(`{"state":"Idle"}`, `[]`), "status is no object"},
		{"no state in the status", object1(`{"state":"Idle"}`, `{}`), "status.current_state"},
		{"another kind", strings.Replace(good, "BottlerocketShadow", "Pod", 1), `kind is "Pod"`},
		{"another version", strings.Replace(good, v1, "brupop.bottlerocket.aws/v3", 1), "v3"},
		{"no version", `{"kind":"BottlerocketShadow"}`, "apiVersion is"},
		{"no object", `17`, "decoding"},
	} {
		answer, sum, err := Review(review2(good, tc.object))
		if err != nil {
			t.Fatal(err)
		}
		response := decode(t, answer)["response"].(map[string]any)
		message, _ := response["result"].(map[string]any)["message"].(string)
		if !strings.Contains(message, tc.reason) || !strings.Contains(message, "object 2 of 2") || sum.Failure != message ||
			response["result"].(map[string]any)["status"] != "Failed" || response["uid"] != "r" || response["convertedObjects"] != nil {
			t.Errorf("%s: %s", tc.name, answer)
		}
	}
	answer, sum, err := Review(review2(good, object2(`{"state":"Idle"}`, `null`)))
	if err != nil || sum.Failure != "" || len(decode(t, answer)["response"].(map[string]any)["convertedObjects"].([]any)) != 2 {
		t.Errorf("good objects: %s, %v", answer, err)
	}
	for _, junk := range []string{"", "{", "[]", "null", `{"kind":"ConversionReview"}`, `{"kind":"ConversionReview","apiVersion":"apiextensions.k8s.io/v1beta1","request":{"uid":"u"}}`} {
		if _, _, err := Review([]byte(junk)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", junk, err)
		}
	}
}

// FuzzRoundTrip: whatever converts comes back as it was, and nothing panics.
func FuzzRoundTrip(f *testing.F) {
	f.Add(object2(`{"state":"Idle"}`, `null`))
	f.Add(object1(`{"state":"PerformedUpdate"}`, `{"current_state":"Idle"}`))
	f.Add(string(review2(object1(`{"state":"Idle"}`, `{}`))))
	f.Fuzz(func(t *testing.T, raw string) {
		_, _, _ = Review([]byte(raw))
		for from, to := range map[string]string{v1: v2, v2: v1} {
			there, err := Object([]byte(raw), to)
			if err != nil || !strings.Contains(raw, from) {
				continue
			}
			back, err := Object(there, from)
			if err != nil {
				t.Fatalf("%s became %s, which does not come back: %v", raw, there, err)
			}
			a, b := decode(t, []byte(raw)), decode(t, back)
			for _, o := range []map[string]any{a, b} {
				delete(o, "metadata") // annotations of ours in the input are consumed
			}
			if from == v2 && !strings.Contains(raw, "drydock.dev/v") {
				if diff := cmp.Diff(a, b); diff != "" {
					t.Fatalf("%s came back as %s:\n%s", raw, back, diff)
				}
			}
		}
	})
}
