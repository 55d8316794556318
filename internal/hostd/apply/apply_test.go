// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apply

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
	"github.com/drydock-os/drydock/internal/hostd/template"
)

type fixedStore store.Data

func (s fixedStore) Live() store.Data { return store.Data(s) }

// recorder notes commands and fails those that contain fail.
type recorder struct {
	ran     []string
	changed [][]string
	fail    string
}

func (r *recorder) Run(_ context.Context, command, changed []string) error {
	line := strings.Join(command, " ")
	r.ran, r.changed = append(r.ran, line), append(r.changed, changed)
	if r.fail != "" && strings.Contains(line, r.fail) {
		return errors.New("refused")
	}
	return nil
}

type host struct {
	*Applier
	root string
	live store.Data
	run  *recorder
}

// newHost is a host of a variant with its default settings and those of the JSON text.
func newHost(t *testing.T, variant, text string) host {
	t.Helper()
	model := settings.For(settings.ParseVariant(variant))
	defaults, err := model.Defaults()
	if err != nil {
		t.Fatal(err)
	}
	values, err := model.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	live := defaults.Live
	maps.Copy(live.Values, defaults.Settings)
	maps.Copy(live.Values, values)
	h := host{root: t.TempDir(), live: live, run: &recorder{}}
	h.Applier = New(Config{
		Root: h.root, Store: fixedStore(live), Model: model, Run: h.run, Log: slog.New(slog.DiscardHandler),
		OS: map[string]any{"arch": "x86_64", "variant_id": variant, "version_id": "1.2.3"},
	})
	return h
}

func (h host) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(h.root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const updates = `"updates":{"metadata-base-url":"https://u.example/m/","seed":17}`

func TestApplyChangesWhatKeysAffect(t *testing.T) {
	h := newHost(t, "metal-dev", `{`+updates+`,"motd":"hi & bye","ntp":{"time-servers":["a.example","b.example"]}}`)
	if err := h.Apply(t.Context(), []string{"settings.motd", "settings.ntp.time-servers"}); err != nil {
		t.Fatal(err)
	}
	if got := h.read(t, "etc/motd"); got != "hi & bye\n" {
		t.Errorf("motd %q", got)
	}
	if got := h.read(t, "etc/chrony.conf"); !strings.HasPrefix(got, "pool a.example iburst\npool b.example iburst\ndriftfile") {
		t.Errorf("chrony.conf %q", got)
	}
	if _, err := os.Stat(filepath.Join(h.root, "etc/updog.toml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("updog.toml was not affected: %v", err)
	}
	if diff := cmp.Diff([]string{"/usr/bin/systemctl try-reload-or-restart chronyd.service"}, h.run.ran); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{{"settings.motd", "settings.ntp.time-servers"}}, h.run.changed); diff != "" {
		t.Error(diff)
	}
}

// What the update client reads beyond the original's keys is in its file only where it is set.
func TestAdditionsForTheUpdateClient(t *testing.T) {
	for text, want := range map[string]string{
		``: "", `,"legacy-waves":false,"rate-limit":0`: "", `,"legacy-waves":true`: "legacy_waves = true\n",
		`,"rate-limit":65536`: "rate_limit_bytes_per_second = 65536\n",
	} {
		h := newHost(t, "metal", `{`+strings.TrimSuffix(updates, "}")+text+`}}`)
		if err := h.Apply(t.Context(), []string{"settings.updates.rate-limit"}); err != nil {
			t.Fatal(err)
		}
		got := h.read(t, "etc/updog.toml")
		if !strings.HasSuffix(got, "ignore_waves = false\n"+want) {
			t.Errorf("%s gives\n%s", text, got)
		}
	}
}

func TestNothingAffectedIsNoError(t *testing.T) {
	h := newHost(t, "metal", `{}`)
	if err := h.Apply(t.Context(), []string{"settings.kernel.nothing"}); err != nil || len(h.run.ran) > 0 {
		t.Errorf("%v, ran %q", err, h.run.ran)
	}
}

func TestNothingIsWrittenWhenOneTemplateFails(t *testing.T) {
	h := newHost(t, "metal", `{`+updates+`}`)
	k, err := store.ParseKey("settings.updates.seed")
	if err != nil {
		t.Fatal(err)
	}
	delete(h.live.Values, k)
	err = h.Apply(t.Context(), []string{"settings.motd", "settings.updates"})
	if !errors.Is(err, template.ErrMissing) || !strings.Contains(err.Error(), "/etc/updog.toml: rendering template: line 3: settings.updates.seed: no value") {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(h.root); len(entries) > 0 || len(h.run.ran) > 0 {
		t.Errorf("wrote %v, ran %q", entries, h.run.ran)
	}
	// At boot, the rest is done.
	if err := h.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h.read(t, "etc/motd")
	if len(h.run.changed) == 0 || h.run.changed[0] != nil {
		t.Errorf("changed settings %q, want none named", h.run.changed)
	}
}

func TestTheFirstCommandThatFailsEndsIt(t *testing.T) {
	h := newHost(t, "metal", `{}`)
	h.run.fail = "chronyd"
	err := h.Apply(t.Context(), []string{"settings.ntp", "settings.kernel.lockdown"})
	if err == nil || !strings.Contains(err.Error(), "restarting ntp: refused") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"/usr/bin/corndog lockdown", "/usr/bin/systemctl try-reload-or-restart chronyd.service"}, h.run.ran); diff != "" {
		t.Error(diff)
	}
}

func TestWordsOfACommandMayBeQuoted(t *testing.T) {
	h := newHost(t, "metal", `{}`)
	words := make(chan []string, 1)
	h.cfg.Run = runFunc(func(command []string) error { words <- command; return nil })
	k, err := store.ParseKey("services.motd.restart-commands")
	if err != nil {
		t.Fatal(err)
	}
	h.live.Values[k] = store.Value(`["/usr/bin/logger --tag  motd 'it has \"changed\"'"]`)
	if err := h.Apply(t.Context(), []string{"settings.motd"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/usr/bin/logger", "--tag", "motd", `it has "changed"`}, <-words); diff != "" {
		t.Error(diff)
	}
	h.live.Values[k] = store.Value(`["/usr/bin/logger 'never closed"]`)
	if err := h.Apply(t.Context(), []string{"settings.motd"}); err == nil || !strings.Contains(err.Error(), "restarting motd: the command line ends inside a quotation") {
		t.Errorf("got %v", err)
	}
}

type runFunc func(command []string) error

func (f runFunc) Run(_ context.Context, command, _ []string) error { return f(command) }

func TestFilesHaveTheirModeAndAreReplacedOnlyWhenTheyChange(t *testing.T) {
	h := newHost(t, "metal", `{"host-containers":{"mine":{"source":"x/y:1","user-data":"aGk="}}}`)
	name := filepath.Join(h.root, "etc/host-containers/host-containers.toml")
	if err := h.Apply(t.Context(), []string{"settings.host-containers.mine.source"}); err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(name)
	if err != nil || first.Mode() != 0o600 {
		t.Fatalf("%v, %v", first, err)
	}
	if err := h.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if second, err := os.Stat(name); err != nil || !os.SameFile(first, second) {
		t.Errorf("replaced by the same: %v", err)
	}
	var file struct {
		Containers map[string]struct {
			Source                string
			Enabled, Superpowered bool
			UserData              string `toml:"user-data"`
		} `toml:"host-containers"`
	}
	if err := toml.Unmarshal([]byte(h.read(t, "etc/host-containers/host-containers.toml")), &file); err != nil {
		t.Fatal(err)
	}
	if c := file.Containers["mine"]; c.Source != "x/y:1" || c.Enabled || c.UserData != "aGk=" || !file.Containers["admin"].Superpowered {
		t.Errorf("got %+v", file)
	}
}

func TestTheImagesTemplateComesFirst(t *testing.T) {
	h := newHost(t, "metal", `{"motd":"x"}`)
	dir := filepath.Join(h.root, "usr/share/templates")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text := "[required-extensions]\n+++\n{{os.variant_id}} says {{settings.motd}}"
	if err := os.WriteFile(filepath.Join(dir, "motd"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := h.Apply(t.Context(), []string{"settings.motd"}); err != nil {
		t.Fatal(err)
	}
	if got := h.read(t, "etc/motd"); got != "metal says x" {
		t.Errorf("got %q", got)
	}
}

func TestCommandsOfAHostThatIsADirectory(t *testing.T) {
	root := t.TempDir()
	t.Setenv("DRYDOCK_ROOT", "/") // of whoever started us: not of our host
	p := Programs{Root: root, Log: slog.New(slog.DiscardHandler)}
	if err := p.Run(t.Context(), []string{"/usr/bin/absent", "x"}, nil); err != nil {
		t.Errorf("absent: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho \"$2|$CHANGED_SETTINGS|$DRYDOCK_ROOT\" >ran\necho went wrong >&2\nexit $1\n"
	if err := os.WriteFile(filepath.Join(root, "usr/bin/tool"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context(), []string{"/usr/bin/tool", "0", "a;b"}, []string{"settings.a", "settings.b"}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(root, "ran")); err != nil || string(got) != "a;b|settings.a settings.b|"+root+"\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := p.Run(t.Context(), []string{"/usr/bin/tool", "3"}, nil); err == nil || !strings.Contains(err.Error(), "exit status 3: went wrong") {
		t.Errorf("got %v", err)
	}
	if err := p.Run(t.Context(), []string{"tool"}, nil); err == nil {
		t.Error("a program by name alone")
	}
}
