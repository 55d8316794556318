// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package v2

import (
	"encoding/json"
	"math"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// UnmarshalJSON reads what a definition of BottlerocketShadow admits, also one of an older version, and what somebody may
// have written by hand. Objects are listed together, so that one that could not be read would keep all others from being
// read. A count that is too large becomes the largest; a condition that is none is left out.
func (s *BottlerocketShadowStatus) UnmarshalJSON(data []byte) error {
	type fields BottlerocketShadowStatus
	wire := struct {
		*fields
		CrashCount json.Number       `json:"crash_count"`
		Conditions []json.RawMessage `json:"conditions"`
	}{fields: (*fields)(s)}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	s.CrashCount, s.Conditions = 0, nil
	if text := wire.CrashCount.String(); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			n = math.MaxUint32
		}
		s.CrashCount = uint32(n)
	}
	for _, raw := range wire.Conditions {
		var c metav1.Condition
		if json.Unmarshal(raw, &c) == nil {
			s.Conditions = append(s.Conditions, c)
		}
	}
	return nil
}
