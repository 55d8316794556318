// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestThatADrainIsUnwantedIsFoundOutInTheEnd: the change that says so is told once, and the question that it leads to may
// fail, as when the Kubernetes API server restarts.
func TestThatADrainIsUnwantedIsFoundOutInTheEnd(t *testing.T) {
	away := errors.New("connection refused")
	for name, tc := range map[string]struct {
		first   error // whether it could be asked at the beginning
		changes int
	}{
		"after a change":   {changes: 1},
		"at the beginning": {first: away},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				asked := 0
				changed := make(chan struct{}, 1)
				for range tc.changes {
					changed <- struct{}{}
				}
				err := untilUnwanted(t.Context(), changed, tc.first, func(context.Context) error {
					asked++
					if time.Since(began) < 20*time.Second {
						return away
					}
					return errCalledOff
				})
				if took := time.Since(began); !errors.Is(err, errCalledOff) || took > time.Minute || asked > 30 {
					t.Errorf("%v after %v and %d questions", err, took, asked)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		changed := make(chan struct{}, 1)
		changed <- struct{}{}
		asked := 0
		if err := untilUnwanted(ctx, changed, nil, func(context.Context) error { asked++; return nil }); err != nil || asked != 1 {
			t.Errorf("%v after %d questions, want the end of the drain after one", err, asked)
		}
	})
}
