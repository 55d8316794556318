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
}

func TestWhichProxy(t *testing.T) {
	const proxy = "https_proxy = \"http://proxy:3128\"\n"
	for _, tc := range []struct {
		name, settings string
		env            map[string]string
		want           map[string]string // URL to proxy
	}{
		{"none", "", nil, map[string]string{"https://u/x": "", "http://u/x": ""}},
		// The original's name for it means what it says.
		{"for https", proxy, nil, map[string]string{"https://u/x": "http://proxy:3128", "http://u/x": ""}},
		{"not for some", proxy + "no_proxy = [\"inside\", \".near\"]\n", nil, map[string]string{
			"https://u/x": "http://proxy:3128", "https://inside/x": "", "https://a.near/x": "",
		}},
		{"beside that of the environment", proxy, map[string]string{"HTTP_PROXY": "http://env:1", "HTTPS_PROXY": "http://env:2", "NO_PROXY": "inside"}, map[string]string{
			"https://u/x": "http://proxy:3128", "http://u/x": "http://env:1", "https://inside/x": "", "http://inside/x": "",
		}},
		{"exceptions replace those of the environment", proxy + "no_proxy = [\"other\"]\n", map[string]string{"NO_PROXY": "inside"}, map[string]string{
			"https://inside/x": "http://proxy:3128", "https://other/x": "",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
				t.Setenv(name, tc.env[name])
				t.Setenv(strings.ToLower(name), "")
			}
			s, err := parseSettings([]byte(urls + tc.settings))
			if err != nil {
				t.Fatal(err)
			}
			for target, want := range tc.want {
				got, err := s.proxy(httptest.NewRequest("GET", target, nil))
				text := ""
				if got != nil {
					text = got.String()
				}
				if err != nil || text != want {
					t.Errorf("proxy for %s: %q, %v, want %q", target, text, err, want)
				}
			}
		})
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
