// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-cmp/cmp"
)

// printed is a manifest as JSON prints it: sorted, pretty, with a newline.
const printed = `{
  "updates": [
    {
      "variant": "metal-k8s",
      "arch": "x86_64",
      "version": "1.21.0",
      "max_version": "1.21.0",
      "waves": {
        "0": "2026-09-01T20:00:00Z",
        "20": "2026-09-02T20:00:00Z",
        "1024": "2026-09-03T20:00:00Z"
      },
      "images": {
        "boot": "b",
        "root": "r",
        "hash": "h"
      }
    }
  ],
  "migrations": {
    "(0.5.0, 1.0.0)": [
      "migrate_v1.0.0_x.lz4"
    ],
    "(1.0.0, 1.0.1)": []
  }
}
`

func version(s string) *semver.Version { return semver.MustParse(s) }

func TestParsePrintIsStable(t *testing.T) {
	m, err := Parse([]byte(printed))
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(printed, string(got)); diff != "" {
		t.Errorf("printing changed the manifest (-want +got):\n%s", diff)
	}
}

func TestEmptyManifestPrintsEmptyLists(t *testing.T) {
	got, err := (&Manifest{}).JSON()
	if err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"updates\": [],\n  \"migrations\": {}\n}\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := Parse(got); err != nil {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	update := func(change ...string) string {
		u := `{"variant":"v","arch":"x86_64","version":"1.0.0","max_version":"1.0.0","waves":{},"images":{"boot":"b","root":"r","hash":"h"}}`
		return `{"updates":[` + strings.NewReplacer(change...).Replace(u) + `],"migrations":{}}`
	}
	migrations := func(m string) string { return `{"updates":[],"migrations":` + m + `}` }
	for _, tc := range []struct {
		name, in, wantErr string // "" = must parse
	}{
		{"plain", update(), ""},
		{"unknown fields are ignored", update(`"arch"`, `"status":"Ready","arch"`), ""},
		{"pre-release", update(`1.0.0`, `1.0.0-rc.1`), ""},
		{"offset times", update(`"waves":{}`, `"waves":{"0":"2026-09-01T22:00:00+02:00"}`), ""},
		{"blanks in migration keys", migrations(`{"(1.0.0,   1.1.0)":[]}`), ""},
		{"v in a version", update(`"version":"1.0.0"`, `"version":"v1.0.0"`), "not a version"},
		{"two numbers", update(`"version":"1.0.0"`, `"version":"1.0"`), "not a version"},
		{"number for a version", update(`"version":"1.0.0"`, `"version":1`), "want a text"},
		{"missing field", update(`"max_version":"1.0.0",`, ``), `missing field "max_version"`},
		{"case matters", update(`"variant"`, `"Variant"`), `missing field "variant"`},
		{"missing image", update(`"hash":"h"`, `"Hash":"h"`), `missing field "hash"`},
		{"empty image name", update(`"hash":"h"`, `"hash":""`), "hash: want a text"},
		{"duplicate field", update(`"arch"`, `"arch":"y","arch"`), `duplicate key "arch"`},
		{"duplicate wave", update(`"waves":{}`, `"waves":{"1":"2026-09-01T20:00:00Z","1":"2026-09-01T20:00:00Z"}`), `duplicate key "1"`},
		{"duplicate wave, other spelling", update(`"waves":{}`, `"waves":{"1":"2026-09-01T20:00:00Z","01":"2026-09-01T20:00:00Z"}`), `duplicate key 1`},
		{"wave key too great", update(`"waves":{}`, `"waves":{"4294967296":"2026-09-01T20:00:00Z"}`), "not a number"},
		{"wave time", update(`"waves":{}`, `"waves":{"1":"tomorrow"}`), "not a time"},
		{"wave null", update(`"waves":{}`, `"waves":null`), "want an object"},
		{"duplicate migration", migrations(`{"(1.0.0, 1.1.0)":[],"(1.0.0, 1.1.0)":["x"]}`), "duplicate key"},
		{"duplicate migration, other blanks", migrations(`{"(1.0.0, 1.1.0)":[],"(1.0.0,1.1.0)":["x"]}`), "duplicate key (1.0.0, 1.1.0)"},
		{"migration key", migrations(`{"1.0.0, 1.1.0":[]}`), "not of the form"},
		{"migration names", migrations(`{"(1.0.0, 1.1.0)":null}`), "want a list"},
		{"no migrations", `{"updates":[]}`, `missing field "migrations"`},
		{"updates null", `{"updates":{},"migrations":{}}`, "updates"},
		{"list", `[]`, "want an object"},
		{"empty", ``, "empty"},
		{"cut off", printed[:200], "unexpected"},
		{"two documents", update() + `{}`, "follows the object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse([]byte(tc.in))
			switch {
			case tc.wantErr == "" && err != nil:
				t.Errorf("unexpected error: %v", err)
			case tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)):
				t.Errorf("got error %v, want one about %q", err, tc.wantErr)
			}
		})
	}
}

func TestParseRefusesHugeInput(t *testing.T) {
	if _, err := Parse(bytes.Repeat([]byte(" "), MaxSize+1)); err == nil {
		t.Error("a manifest beyond the limit was read")
	}
}

func TestAdd(t *testing.T) {
	add := func(m *Manifest, variant, v string, limit *semver.Version) error {
		return m.Add(Update{Variant: variant, Arch: "x86_64", Version: version(v)}, limit)
	}
	limits := func(m *Manifest) (list []string) {
		for _, u := range m.Updates {
			list = append(list, u.Variant+" "+u.Version.String()+" max "+u.MaxVersion.String())
		}
		return list
	}
	m := &Manifest{}
	for _, step := range []struct {
		variant, version string
		limit            *semver.Version
		want             []string
	}{
		{"a", "1.0.0", nil, []string{"a 1.0.0 max 1.0.0"}},
		{"a", "1.2.0", nil, []string{"a 1.0.0 max 1.2.0", "a 1.2.0 max 1.2.0"}},
		{"a", "1.1.0", nil, []string{"a 1.0.0 max 1.2.0", "a 1.2.0 max 1.2.0", "a 1.1.0 max 1.2.0"}},
		{"b", "1.1.0", nil, []string{"a 1.0.0 max 1.2.0", "a 1.2.0 max 1.2.0", "a 1.1.0 max 1.2.0", "b 1.1.0 max 1.2.0"}},
		{"a", "1.1.1", version("1.1.1"), []string{"a 1.0.0 max 1.1.1", "a 1.2.0 max 1.1.1", "a 1.1.0 max 1.1.1", "b 1.1.0 max 1.2.0", "a 1.1.1 max 1.1.1"}},
	} {
		if err := add(m, step.variant, step.version, step.limit); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, limits(m)); diff != "" {
			t.Errorf("after adding %s %s (-want +got):\n%s", step.variant, step.version, diff)
		}
	}
	if err := add(m, "a", "1.2.0", nil); !errors.Is(err, ErrExists) {
		t.Errorf("adding a version twice: got %v, want ErrExists", err)
	}

	// 1.2.0 was withdrawn above: it comes back by name only, or stays away with a limit.
	before := limits(m)
	if err := add(m, "a", "1.3.0", nil); !errors.Is(err, ErrHeldBack) || !strings.HasSuffix(err.Error(), ": 1.2.0") {
		t.Errorf("adding above a withdrawn version: got %v, want ErrHeldBack", err)
	}
	if diff := cmp.Diff(before, limits(m)); diff != "" {
		t.Errorf("refused, and changed (-was +is):\n%s", diff)
	}
	if err := add(m, "a", "1.1.2", nil); err != nil || m.MaxVersion("a", "x86_64").String() != "1.1.2" {
		t.Errorf("adding below a withdrawn version: %v, max %v", err, m.MaxVersion("a", "x86_64"))
	}
	if err := add(m, "a", "1.3.0", version("1.3.0")); err != nil || m.MaxVersion("a", "x86_64").String() != "1.3.0" {
		t.Errorf("adding above a withdrawn version with a limit: %v, max %v", err, m.MaxVersion("a", "x86_64"))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(printed))
	f.Add([]byte(`{"updates":[],"migrations":{"(1.0.0,2.0.0+a)":[]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			return
		}
		first, err := m.JSON()
		if err != nil {
			t.Fatalf("a manifest that was read cannot be printed: %v", err)
		}
		again, err := Parse(first)
		if err != nil {
			t.Fatalf("a printed manifest cannot be read: %v\n%s", err, first)
		}
		second, err := again.JSON()
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("printing is not stable (%v):\n%s\n%s", err, first, second)
		}
	})
}
