// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package logdog

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, root, name, text string) {
	t.Helper()
	name = filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, name string) map[string]string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(data)
	}
}

const secrets = `{"settings":{"motd":"a<b","updates":{"seed":9},
	"kubernetes":{"bootstrap-token":"s3cret","server-key":"s3cret","cluster-name":"c"},"network":{"https-proxy":"http://u:s3cret@p"},
	"container-registry":{"credentials":[{"password":"s3cret"}]},"aws":{"config":"s3cret","credentials":"s3cret","region":"r"},
	"host-containers":{"admin":{"user-data":"s3cret","enabled":true}},"bootstrap-containers":{"x":{"user-data":"s3cret"}}}}`

func TestArchive(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/tasks" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = w.Write([]byte("tasks"))
	}))
	defer s.Close()
	root := t.TempDir()
	write(t, root, "usr/bin/tool", "#!/bin/sh\necho \"out $*\"\nprintf '[%s]\\n' \"$@\"\necho err >&2\nexit 3\n")
	write(t, root, "etc/os-release", "ID=x\n")
	write(t, root, "var/log/a/b/c.log", "c")
	write(t, root, "var/log/a/d.log", "d")
	if err := os.Symlink("/etc/passwd", filepath.Join(root, "var/log/a/link")); err != nil {
		t.Fatal(err)
	}
	write(t, root, "usr/share/logdog.d/20-more", "file nothing /absent\nhttp tea "+s.URL+"/\nexec no absent-tool x\nfile ../out /etc/os-release\n")
	write(t, root, "usr/share/logdog.d/10-first", "# comment\n\nexec tool.txt tool a 'b  \"c' \"d  \\.\" e\\ f\nexec open tool 'x\nfile os-release /etc/os-release\nglob /var/log/a\nglob /none*\n"+
		"http tasks "+s.URL+"/tasks\nsettings settings.json\n")
	requests, err := Requests(root, "metal")
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	out := filepath.Join(root, "var/log/support/x.tar.gz")
	err = Collect(t.Context(), Config{Root: root, Requests: requests, Output: out, Now: time.Unix(1e9, 0), Stdout: &said,
		Settings: func(context.Context) ([]byte, error) { return []byte(secrets), nil }})
	if err != nil {
		t.Fatal(err)
	}
	got := unpack(t, out)
	failed := got["bottlerocket-logs/logdog.errors"]
	for _, want := range []string{"Error running command 'file nothing /absent': '", "status 418", "Error running command 'exec no absent-tool x': '", `"../out" is no name`,
		"Error running command 'exec open tool 'x': 'the command line ends inside a quotation'"} {
		if !strings.Contains(failed, want) {
			t.Errorf("errors lack %q:\n%s", want, failed)
		}
	}
	if n := strings.Count(failed, "\n"); n != 5 {
		t.Errorf("%d errors:\n%s", n, failed)
	}
	settings := got["bottlerocket-logs/settings.json"]
	if strings.Contains(settings, "s3cret") || strings.Count(settings, `"REDACTED"`) != 8 || !strings.Contains(settings, `"motd": "a<b"`) {
		t.Errorf("settings:\n%s", settings)
	}
	delete(got, "bottlerocket-logs/logdog.errors")
	delete(got, "bottlerocket-logs/settings.json")
	if diff := cmp.Diff(map[string]string{
		"bottlerocket-logs/tool.txt": "out a b  \"c d  \\. e f\n[a]\n[b  \"c]\n[d  \\.]\n[e f]\nerr\n", "bottlerocket-logs/os-release": "ID=x\n", "bottlerocket-logs/tasks": "tasks",
		"bottlerocket-logs/var/log/a/b/c.log": "c", "bottlerocket-logs/var/log/a/d.log": "d",
	}, got); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(said.String(), "Running: exec tool.txt tool a 'b  ") {
		t.Errorf("said %q", said.String())
	}
	if info, err := os.Stat(out); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if rest, _ := filepath.Glob(filepath.Join(root, "var/log/support/.*tmp")); len(rest) > 0 {
		t.Errorf("left behind %q", rest)
	}
}

func TestAnArchiveThatCannotBeWrittenIsAnError(t *testing.T) {
	root := t.TempDir()
	write(t, root, "file", "")
	err := Collect(t.Context(), Config{Root: root, Output: filepath.Join(root, "file/x.tar.gz"), Stdout: io.Discard})
	if pathErr, ok := errors.AsType[*fs.PathError](err); !ok {
		t.Errorf("got %v, %v", err, pathErr)
	}
}

func TestVariantsHaveTheirRequests(t *testing.T) {
	for variant, want := range map[string]string{"aws-k8s-1.33": "exec kube-status ", "aws-ecs-2": "http ecs-tasks ", "aws-dev": "exec docker-info ", "metal": "settings settings.json"} {
		list, err := Requests(t.TempDir(), variant)
		if err != nil || !strings.Contains(strings.Join(list, "\n"), want) {
			t.Errorf("%s: %q, %v", variant, list, err)
		}
	}
}

func TestRequestsOfProgramsThatOnlySomeHostsHave(t *testing.T) {
	root := t.TempDir()
	without, err := Requests(root, "metal")
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, "usr/sbin/wicked", "#!/bin/sh\n")
	with, err := Requests(root, "metal")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(without, "exec wicked wicked show all"), with); diff != "" {
		t.Error(diff)
	}
}
