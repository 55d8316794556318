// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package termination

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/setting"
)

// The kubelet gets the last error, whole or cut to what it reads, in place of what an earlier start left.
func TestTheLastErrorIsLeftForTheKubelet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	env := setting.Env(func(string) string { return file })
	if err := setting.Apply(env, []setting.Setting{Setting()}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		err  error
		want string
	}{
		{errors.New(strings.Repeat("x", 2*maxMessage)), "drydock: error: " + strings.Repeat("x", maxMessage-len("drydock: error: "))},
		{cli.WithHint(errors.New("no network"), "plug it in"), "drydock: error: no network\ndrydock: hint: plug it in\n"},
		{nil, "drydock: error: no network\ndrydock: hint: plug it in\n"},
	} {
		Tell(env, "drydock", tc.err)
		got, err := os.ReadFile(file)
		if err != nil || string(got) != tc.want {
			t.Errorf("%.50v: the file holds %.100q, %v", tc.err, got, err)
		}
	}
}

func TestWithoutAKubeletNothingIsWritten(t *testing.T) {
	if _, err := os.Stat(standard); err == nil {
		t.Skip("this test runs in a container of a pod")
	}
	none := setting.Env(func(string) string { return "" })
	if err := setting.Apply(none, []setting.Setting{Setting()}); err != nil {
		t.Error(err)
	}
	Tell(none, "drydock", errors.New("x"))
	if _, err := os.Stat(standard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", standard, err)
	}
}
