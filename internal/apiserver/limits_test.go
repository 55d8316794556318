// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestOneNodeDoesNotTakeTheShareOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits()
		for i := range nodeBurst {
			if !l.allow("wild") {
				t.Fatalf("request %d was refused", i+1)
			}
		}
		if l.allow("wild") {
			t.Error("a node may send without end")
		}
		if !l.allow("other") {
			t.Error("another node pays for it")
		}
		time.Sleep(time.Second)
		for i := range nodeRate {
			if !l.allow("wild") {
				t.Errorf("request %d after a second was refused", i+1)
			}
		}
		if l.forget("wild"); !l.allow("wild") {
			t.Error("a new node of the name inherits the debts")
		}
	})
}
