// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package containers

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/testutil/containerdtest"
)

// daemon answers as the host daemon and remembers what it was asked to change.
type daemon struct {
	settings map[string]map[string]Container
	changes  []string
}

func (d *daemon) Request(_ context.Context, method, uri string, body []byte) (int, []byte, error) {
	if method == http.MethodGet {
		data, err := json.Marshal(d.settings)
		return http.StatusOK, data, err
	}
	d.changes = append(d.changes, method+" "+uri+" "+string(body))
	return http.StatusNoContent, nil, nil
}

// manager is a service manager that writes down what it is told.
type manager struct {
	early bool
	told  []string
}

func (m *manager) Booted(context.Context) (bool, error) { return !m.early, nil }
func (m *manager) tell(format string, args ...any) error {
	m.told = append(m.told, fmt.Sprintf(format, args...))
	return nil
}
func (m *manager) Stop(_ context.Context, u Unit) error    { return m.tell("stop %s", u) }
func (m *manager) Disable(_ context.Context, u Unit) error { return m.tell("disable %s", u) }
func (m *manager) Enable(_ context.Context, u Unit, now bool) error {
	return m.tell("enable %s now=%v", u, now)
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestHostContainersFollowTheSettings(t *testing.T) {
	root := t.TempDir()
	d := &daemon{settings: map[string]map[string]Container{Host: {
		"admin":   {Source: "example.com/admin:1", Enabled: true, Superpowered: true, UserData: base64.StdEncoding.EncodeToString([]byte("keys"))},
		"control": {Source: "example.com/control:1"},
		"none":    {Enabled: true},
		"../x":    {Source: "y"},
	}}}
	m := &manager{}
	cfg := Config{Root: root, API: d, Units: m, Log: slog.New(slog.DiscardHandler)}
	err := RunHost(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "settings.host-containers.none: no source is set") || !strings.Contains(err.Error(), "settings.host-containers.../x: the name is none") {
		t.Errorf("got %v", err)
	}
	want := []string{
		"stop host-containers@admin.service", "enable host-containers@admin.service now=true",
		"stop host-containers@control.service", "disable host-containers@control.service",
	}
	if diff := cmp.Diff(want, m.told); diff != "" {
		t.Error(diff)
	}
	if got := read(t, root, "etc/host-containers/admin.env"); got != "CTR_SUPERPOWERED=true\nCTR_SOURCE=example.com/admin:1\n# enabled: true\n" {
		t.Errorf("environment %q", got)
	}
	if got := read(t, root, "local/host-containers/admin/user-data"); got != "keys" {
		t.Errorf("user data %q", got)
	}
	if info, err := os.Stat(filepath.Join(root, "local/host-containers/admin")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(root, "local/x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a name led out of the folder: %v", err)
	}

	// Only what changed is touched, and before the end of the boot nothing starts early.
	m.told, m.early = nil, true
	cfg.Changed = []string{"settings.host-containers.admin.enabled", "settings.container-registry.mirrors", "settings.motd"}
	if err := RunHost(t.Context(), cfg); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"stop host-containers@admin.service", "enable host-containers@admin.service now=false"}, m.told); diff != "" {
		t.Error(diff)
	}
}

func TestBootstrapContainersFollowTheSettings(t *testing.T) {
	root := t.TempDir()
	d := &daemon{settings: map[string]map[string]Container{Bootstrap: {
		"a": {Source: "x", Mode: "once", Essential: true}, "b": {Source: "x", Mode: "always"}, "c": {Source: "x"},
	}}}
	m := &manager{}
	cfg := Config{Root: root, API: d, Units: m, Log: slog.New(slog.DiscardHandler)}
	if err := CreateBootstrap(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"disable bootstrap-containers@a.service", "enable bootstrap-containers@a.service now=false",
		"disable bootstrap-containers@b.service", "enable bootstrap-containers@b.service now=false", "disable bootstrap-containers@c.service",
	}
	if diff := cmp.Diff(want, m.told); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{"a": "[Install]\nRequiredBy=configured.target\n", "b": "[Install]\nWantedBy=configured.target\n"} {
		if got := read(t, root, "etc/systemd/system/bootstrap-containers@"+name+".service.d/overrides.conf"); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if err := MarkBootstrap(t.Context(), cfg, "a", "once"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`PATCH /settings?tx=bootstrap-a {"bootstrap-containers":{"a":{"mode":"off"}}}`, "POST /tx/commit_and_apply?tx=bootstrap-a "}, d.changes); diff != "" {
		t.Error(diff)
	}
	read(t, root, "run/bootstrap-containers/a.ran")
}

// A container that has been started never is again in the same boot, however it ended: by the programs and by the unit.
func TestNoBootstrapContainerRunsTwiceInABoot(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	// Says which container it runs and what its marker was when it started; fails for those whose source is bad.
	script := "#!/bin/sh\ncd " + root + "\necho \"$3 $(cat run/bootstrap-containers/${3#boot.}.ran)\" >>starts\ntest \"$5\" != bad\n"
	if err := os.WriteFile(filepath.Join(root, "usr/bin/host-ctr"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	d := &daemon{settings: map[string]map[string]Container{Bootstrap: {
		"a": {Source: "good", Mode: "once"}, "b": {Source: "bad", Mode: "once"},
		"c": {Source: "bad", Mode: "once", Essential: true}, "d": {Source: "good", Mode: "always"},
	}}}
	cfg := Config{Root: root, API: d, Log: slog.New(slog.DiscardHandler)}
	for range 2 {
		if err := RunBootstrap(t.Context(), cfg); !errors.Is(err, ErrEssential) || !strings.Contains(err.Error(), "settings.bootstrap-containers.c: ") {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff("boot.a started\nboot.b started\nboot.c started\n", read(t, root, "starts")); diff != "" {
			t.Error(diff)
		}
	}
	// Only what ran with success is off: the next boot tries the others again.
	if len(d.changes) != 2 || !strings.Contains(d.changes[0], `{"a":{"mode":"off"}}`) {
		t.Errorf("changes: %q", d.changes)
	}
	if err := os.RemoveAll(filepath.Join(root, "run")); err != nil { // a boot
		t.Fatal(err)
	}
	d.settings[Bootstrap] = map[string]Container{"c": {Source: "good", Mode: "once", Essential: true}, "d": {Source: "good", Mode: "always"}}
	for range 2 {
		if err := RunBootstrap(t.Context(), cfg); err != nil {
			t.Error(err)
		}
	}
	if got := strings.Split(read(t, root, "starts"), "\n"); !cmp.Equal(got[3:], []string{"boot.c started", "boot.d started", ""}) {
		t.Errorf("started %q", got)
	}

	unit := read(t, "../../../deploy/systemd/bootstrap-containers@.service")
	at := -1
	for _, line := range []string{
		"\nAssertPathExists=!/run/bootstrap-containers/%i.ran\n", "\nExecStartPre=/usr/bin/bootstrap-containers mark-bootstrap --container-id=%i\n",
		"\nExecStart=/usr/bin/host-ctr run ", "\nExecStartPost=/usr/bin/bootstrap-containers mark-bootstrap --container-id=%i --mode=${CTR_MODE}\n",
	} {
		i := strings.Index(unit, line)
		if i <= at {
			t.Errorf("the unit lacks %q, or it is not in its place", line)
		}
		at = i
	}
}

// A host without a service manager, a real containerd, and the real host-ctr.
func TestContainersRunWithoutAServiceManager(t *testing.T) {
	if testing.Short() {
		t.Skip("starts containers")
	}
	root, err := os.MkdirTemp("", "host") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	containerdtest.Start(t, root)
	source := containerdtest.Registry(t, nil) + "/probe:1"
	containerdtest.Push(t, containerdtest.Image(t, containerdtest.Program(t, "../hostctr/testdata/probe")), source)
	if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(containerdtest.Program(t, "github.com/drydock-os/drydock/cmd/host-ctr"), filepath.Join(root, "usr/bin/host-ctr")); err != nil {
		t.Fatal(err)
	}
	order := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	d := &daemon{settings: map[string]map[string]Container{
		Host: {"probe": {Source: source, Enabled: true}},
		Bootstrap: {
			"a": {Source: source, Mode: "once", UserData: order("exit 0")}, "b": {Source: source, Mode: "always", UserData: order("fail")},
			"c": {Source: source, Mode: "always", Essential: true, UserData: order("fail")}, "d": {Source: source, Mode: "always"},
		},
	}}
	cfg := Config{Root: root, API: d, Log: slog.New(slog.DiscardHandler)}

	// One that fails stops the boot only if it is essential.
	if err := RunBootstrap(t.Context(), cfg); !errors.Is(err, ErrEssential) || !strings.Contains(err.Error(), "settings.bootstrap-containers.c") {
		t.Errorf("got %v", err)
	}
	read(t, root, "local/bootstrap-containers/b/report.json")
	if _, err := os.Stat(filepath.Join(root, "local/bootstrap-containers/d")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the boot went on")
	}
	if len(d.changes) != 2 {
		t.Errorf("changes: %q", d.changes)
	}
	if err := os.Remove(filepath.Join(root, "run/bootstrap-containers/c.ran")); err != nil {
		t.Fatal(err)
	}
	if err := RunBootstrap(t.Context(), cfg); !errors.Is(err, ErrEssential) {
		t.Error(err)
	}
	if got := read(t, root, "local/bootstrap-containers/a/starts"); got != "x" {
		t.Errorf("a ran %d times in one boot", len(got))
	}

	if err := RunHost(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(root, "local/host-containers/probe/report.json")
	for deadline := time.Now().Add(time.Minute); !exists(report); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the container does not run: %s", read(t, root, "run/host-containers/probe.log"))
		}
	}
	pid := strings.TrimSpace(read(t, root, "run/host-containers/probe.pid"))
	if line := read(t, "/proc", pid, "cmdline"); !strings.Contains(line, "\x00--restart\x00") {
		t.Errorf("nothing starts it again: %q", line)
	}
	d.settings[Host]["probe"] = Container{Source: source}
	cfg.Changed = []string{"settings.host-containers.probe.enabled"}
	if err := RunHost(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	read(t, root, "local/host-containers/probe/stopped")
}
