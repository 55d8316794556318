// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryVariableIsRead looks for each environment variable of the pods in the sources of the program that they
// run: one that nothing reads is a setting without effect.
func TestEveryVariableIsRead(t *testing.T) {
	programs := map[string]string{"brupop-agent": "drydock-agent", "brupop-apiserver": "drydock", "brupop-controller-deployment": "drydock"}
	for workload, spec := range pods(t) {
		var files []string
		for _, folder := range []string{filepath.Join("cmd", programs[workload]), filepath.Join("internal", "logging")} {
			found, err := filepath.Glob(filepath.Join("..", folder, "*.go"))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, found...)
		}
		var source strings.Builder
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(data)
		}
		if source.Len() == 0 {
			t.Fatalf("no sources of %s", workload)
		}
		for _, v := range spec.Containers[0].Env {
			if !strings.Contains(source.String(), `"`+v.Name+`"`) {
				t.Errorf("%s: nothing reads %s", workload, v.Name)
			}
		}
	}
}
