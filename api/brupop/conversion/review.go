// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package conversion converts BottlerocketShadow objects between the versions v1 and v2, as the Kubernetes API
// server asks for it in a ConversionReview.
//
// It promises that nothing is lost on a round trip: metadata is kept whole, and what the other version cannot say
// travels in an annotation and is taken from there on the way back, unless somebody has changed the same field
// meanwhile. An object that cannot be converted fails its review with the reason; no input makes it panic.
package conversion

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxBody is the largest review that is read, in bytes. A list of v1 objects is one review; each has about 1 KiB.
const MaxBody = 4 << 20

// ErrMalformed means that a request is no ConversionReview at all.
var ErrMalformed = errors.New("not a ConversionReview of apiextensions.k8s.io/v1")

// Summary says for a log what a review was about.
type Summary struct {
	Objects int
	Desired string
	// Failure is the reason why the review failed, "" if it did not.
	Failure string
}

type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID               string            `json:"uid"`
	DesiredAPIVersion string            `json:"desiredAPIVersion"`
	Objects           []json.RawMessage `json:"objects"`
}

type response struct {
	UID              string            `json:"uid"`
	Result           result            `json:"result"`
	ConvertedObjects []json.RawMessage `json:"convertedObjects"`
}

type result struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

// Review answers a ConversionReview. The error is ErrMalformed; everything else is told in the answer.
func Review(body []byte) ([]byte, Summary, error) {
	var r review
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, Summary{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if r.Kind != "ConversionReview" || r.APIVersion != "apiextensions.k8s.io/v1" || r.Request == nil || r.Request.UID == "" {
		return nil, Summary{}, ErrMalformed
	}
	sum := Summary{Objects: len(r.Request.Objects), Desired: r.Request.DesiredAPIVersion}
	r.Response = &response{UID: r.Request.UID, Result: result{Status: "Success"}, ConvertedObjects: []json.RawMessage{}}
	for i, raw := range r.Request.Objects {
		converted, err := Object(raw, r.Request.DesiredAPIVersion)
		if err != nil {
			sum.Failure = fmt.Sprintf("object %d of %d: %v", i+1, len(r.Request.Objects), err)
			r.Response.Result = result{Status: "Failed", Message: sum.Failure}
			r.Response.ConvertedObjects = nil
			break
		}
		r.Response.ConvertedObjects = append(r.Response.ConvertedObjects, converted)
	}
	r.Request = nil
	answer, err := json.Marshal(r)
	if err != nil {
		return nil, sum, fmt.Errorf("encoding the answer: %w", err)
	}
	return answer, sum, nil
}

// Object converts one object to the desired version, brupop.bottlerocket.aws/v1 or /v2. One that has it already is
// returned as it is.
func Object(raw []byte, desired string) (json.RawMessage, error) {
	if desired != v1 && desired != v2 {
		return nil, fmt.Errorf("cannot convert to %.100q, only to %s and %s", desired, v1, v2)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // whatever is in there comes out as it was
	var o object
	if err := d.Decode(&o); err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decoding: something follows the object")
	}
	name := o.name()
	if kind, _ := o["kind"].(string); kind != "BottlerocketShadow" {
		return nil, fmt.Errorf("%s: kind is %.100q, not BottlerocketShadow", name, kind)
	}
	var err error
	switch version, _ := o["apiVersion"].(string); version {
	case desired:
		return raw, nil
	case v1:
		err = o.toV2()
	case v2:
		err = o.toV1()
	default:
		err = fmt.Errorf("apiVersion is %.100q, neither %s nor %s", version, v1, v2)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	o["apiVersion"] = desired
	converted, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("%s: encoding: %w", name, err)
	}
	return converted, nil
}
