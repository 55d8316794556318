// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package conversion

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

const (
	v1 = "brupop.bottlerocket.aws/v1"
	v2 = "brupop.bottlerocket.aws/v2"

	// V2Annotation on a v1 object holds spec and status of the v2 object that it was made from.
	V2Annotation = "drydock.dev/v2"
	// V1Annotation on a v2 object holds the states of the v1 object that it was made from, where v2 has only one
	// word for two of them.
	V1Annotation = "drydock.dev/v1-states"
)

// states2 gives the v2 state of each v1 state, and states1 the reverse. A failed attempt has no v1 word; readers of
// v1 are shown the one that the original showed them, and its truth is in the annotation.
var (
	states2 = map[string]string{
		"Idle": "Idle", "StagedUpdate": "StagedAndPerformedUpdate", "PerformedUpdate": "StagedAndPerformedUpdate",
		"RebootedIntoUpdate": "RebootedIntoUpdate", "MonitoringUpdate": "MonitoringUpdate",
	}
	states1 = map[string]string{
		"Idle": "Idle", "StagedAndPerformedUpdate": "StagedUpdate", "RebootedIntoUpdate": "RebootedIntoUpdate",
		"MonitoringUpdate": "MonitoringUpdate", "ErrorReset": "MonitoringUpdate",
	}
)

// object is a whole object, or a part of one. Fields that are not known here travel along.
type object map[string]any

// name names the object in an error.
func (o object) name() string {
	metadata, _ := o["metadata"].(map[string]any)
	namespace, _ := metadata["namespace"].(string)
	name, _ := metadata["name"].(string)
	return fmt.Sprintf("%.100s/%.300s", namespace, name)
}

// part returns a member that is an object, nil if it is absent or null.
func (o object) part(key string) (object, error) {
	switch p := o[key].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return p, nil
	default:
		return nil, fmt.Errorf("%s is no object", key)
	}
}

// parts returns spec and status; status may be nil.
func (o object) parts() (spec, status object, err error) {
	if spec, err = o.part("spec"); err != nil {
		return nil, nil, err
	}
	if spec == nil {
		return nil, nil, errors.New("spec is missing")
	}
	status, err = o.part("status")
	return spec, status, err
}

// translate replaces a state.
func (o object) translate(part, key string, states map[string]string) error {
	state, ok := o[key].(string)
	if !ok {
		return fmt.Errorf("%s.%s is missing or no text", part, key)
	}
	other, ok := states[state]
	if !ok {
		return fmt.Errorf("%s.%s is %.100q, which is not a state", part, key, state)
	}
	o[key] = other
	return nil
}

// note is what an annotation of ours holds.
type note struct {
	Spec   object `json:"spec,omitempty"`
	Status object `json:"status,omitempty"`
}

// takeNote returns and removes the note; one that somebody damaged is none.
func (o object) takeNote(key string) (note, bool) {
	metadata, _ := o["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	text, ok := annotations[key].(string)
	if !ok {
		return note{}, false
	}
	delete(annotations, key)
	if len(annotations) == 0 {
		delete(metadata, "annotations")
	}
	var n note
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	return n, d.Decode(&n) == nil
}

func (o object) leaveNote(key string, n note) error {
	text, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", key, err)
	}
	metadata, err := o.part("metadata")
	if err != nil {
		return err
	}
	if metadata == nil {
		metadata = object{}
		o["metadata"] = map[string]any(metadata)
	}
	annotations, err := metadata.part("annotations")
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	if annotations == nil {
		annotations = object{}
		metadata["annotations"] = map[string]any(annotations)
	}
	annotations[key] = string(text)
	return nil
}

// toV1 turns a v2 object into a v1 object.
func (o object) toV1() error {
	spec, status, err := o.parts()
	if err != nil {
		return err
	}
	earlier, _ := o.takeNote(V1Annotation)
	truth := note{Spec: maps.Clone(spec), Status: maps.Clone(status)}
	if err := spec.stateToV1("spec", "state", earlier.Spec); err != nil {
		return err
	}
	keep(spec, "state", "state_transition_timestamp", "version")
	if status != nil {
		if err := status.stateToV1("status", "current_state", earlier.Status); err != nil {
			return err
		}
		keep(status, "current_version", "target_version", "current_state")
	}
	return o.leaveNote(V2Annotation, truth)
}

// stateToV1 translates a state, to the one of two words that was there before.
func (o object) stateToV1(part, key string, earlier object) error {
	if err := o.translate(part, key, states1); err != nil {
		return err
	}
	if o[key] == "StagedUpdate" && earlier[key] == "PerformedUpdate" {
		o[key] = "PerformedUpdate"
	}
	return nil
}

// keep removes all other keys.
func keep(o object, keys ...string) {
	kept := object{}
	for _, k := range keys {
		if v, ok := o[k]; ok {
			kept[k] = v
		}
	}
	clear(o)
	maps.Copy(o, kept)
}

// toV2 turns a v1 object into a v2 object.
func (o object) toV2() error {
	spec, status, err := o.parts()
	if err != nil {
		return err
	}
	truth, _ := o.takeNote(V2Annotation)
	var states note
	if spec["state"] == "PerformedUpdate" {
		states.Spec = object{"state": "PerformedUpdate"}
	}
	if status["current_state"] == "PerformedUpdate" {
		states.Status = object{"current_state": "PerformedUpdate"}
	}
	if err := spec.partToV2("spec", "state", truth.Spec); err != nil {
		return err
	}
	if status != nil {
		if err := status.partToV2("status", "current_state", truth.Status); err != nil {
			return err
		}
		if _, ok := status["crash_count"]; !ok {
			status["crash_count"] = 0 // required in v2
		}
	}
	if states.Spec != nil || states.Status != nil {
		return o.leaveNote(V1Annotation, states)
	}
	return nil
}

// partToV2 translates a state and adds what only v2 knows from the object that this one was made of. A state that reads
// as it was shown was not changed, so the truth behind it stands.
func (o object) partToV2(part, key string, truth object) error {
	shown, _ := o[key].(string)
	if err := o.translate(part, key, states2); err != nil {
		return err
	}
	if was, ok := truth[key].(string); ok {
		if states1[was] == shown || states2[shown] == was {
			o[key] = was
		}
	}
	for k, v := range truth {
		if _, ok := o[k]; !ok && !inV1[k] {
			o[k] = v
		}
	}
	return nil
}

// inV1 are the fields that v1 has too: one of these that is absent was removed by somebody.
var inV1 = map[string]bool{
	"state": true, "state_transition_timestamp": true, "version": true,
	"current_version": true, "target_version": true, "current_state": true,
}
