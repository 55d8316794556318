// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"net/http/httptest"
	"strings"
	"testing"
)

const urls = "metadata_base_url = \"https://u/m/\"\ntargets_base_url = \"https://u/t/\"\n"

func TestSettings(t *testing.T) {
	for _, tc := range []struct{ name, in, wantErr string }{
		{"all", urls + "seed = 2047\nversion_lock = \"v1.2.3\"\nignore_waves = true\n", ""},
		{"least", urls, ""},
		{"unknown key", urls + "color = \"red\"\n", ""},
		{"seed beyond the range is clamped later", urls + "seed = 4294967295\n", ""},
		{"rate limit and legacy waves", urls + "rate_limit_bytes_per_second = 65536\nlegacy_waves = true\n", ""},
		{"rate that would look like a stall", urls + "rate_limit_bytes_per_second = 1000\n", "at least 65536"},
		{"negative rate", urls + "rate_limit_bytes_per_second = -1\n", "at least 65536"},
		{"no URL", "seed = 1\n", "required"},
		{"negative seed", urls + "seed = -1\n", "negative"},
		{"lock", urls + "version_lock = \"newest\"\n", "version lock"},
		{"not TOML", "<html>", "toml"},
		{"wrong type", urls + "ignore_waves = \"yes\"\n", "toml"},
	} {
		_, err := parseSettings([]byte(tc.in))
		if tc.wantErr == "" && err != nil || tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
			t.Errorf("%s: got error %v, want one about %q", tc.name, err, tc.wantErr)
		}
	}
	s, err := parseSettings([]byte(urls + "https_proxy = \"http://proxy:3128\"\nno_proxy = [\"inside\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{"https://u/x": "http://proxy:3128", "https://inside/x": "<nil>"} {
		got, err := s.proxy(httptest.NewRequest("GET", target, nil))
		text := "<nil>"
		if got != nil {
			text = got.String()
		}
		if err != nil || text != want {
			t.Errorf("proxy for %s: %s, %v, want %s", target, text, err, want)
		}
	}
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte(urls + "seed = 7\nversion_lock = \"latest\"\nno_proxy = [\"a\"]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSettings(data)
		if err == nil && (s.metadataURL == "" || s.targetsURL == "" || s.proxy == nil) {
			t.Errorf("incomplete settings were accepted: %+v", s)
		}
	})
}
