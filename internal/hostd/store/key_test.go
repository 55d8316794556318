// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseKey(t *testing.T) {
	for _, c := range []struct {
		in, want string
		segments []string
	}{
		{"motd", "motd", []string{"motd"}},
		{"settings.motd", "settings.motd", []string{"settings", "motd"}},
		{`settings."motd"`, "settings.motd", []string{"settings", "motd"}},
		{`settings.kubernetes.node-labels."a.b/c"`, `settings.kubernetes.node-labels."a.b/c"`, []string{"settings", "kubernetes", "node-labels", "a.b/c"}},
		{`a"."b.c`, `"a.b".c`, []string{"a.b", "c"}},
		{`a/b_c-D9`, `a/b_c-D9`, []string{"a/b_c-D9"}},
		{`""a`, "a", []string{"a"}},
	} {
		k, err := ParseKey(c.in)
		if err != nil || k.String() != c.want || !slices.Equal(k.Segments(), c.segments) {
			t.Errorf("ParseKey(%q) = %q %q, %v; want %q %q", c.in, k, k.Segments(), err, c.want, c.segments)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing": "", "a dot": ".", "an empty first segment": ".a", "an empty last segment": "a.", "an empty segment inside": "a..b",
		"empty quotes": `a."".b`, "an open quote": `a."b`, "a blank": "a b", "a quoted blank": `"a b"`, "a colon": "a:b", "a percent sign": "a%2Eb",
		"a zero byte": "a\x00", "a letter with an accent": "é", "256 bytes": strings.Repeat("a", 256), "a file name of 300 bytes": strings.Repeat("/", 100),
		"a backslash": `a\b`, "a newline": "a\n",
	} {
		if k, err := ParseKey(in); !errors.Is(err, ErrKey) {
			t.Errorf("%s: ParseKey(%q) = %q, %v; want ErrKey", name, in, k, err)
		}
	}
	if _, err := ParseKey(strings.Repeat("a", 255)); err != nil {
		t.Errorf("255 bytes: %v", err)
	}
	if _, err := NewKey(); !errors.Is(err, ErrKey) {
		t.Errorf("NewKey() = %v, want ErrKey", err)
	}
}

func TestBelowComparesSegments(t *testing.T) {
	key := func(s string) Key {
		k, err := ParseKey(s)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for _, c := range []struct {
		inner, outer string
		want         bool
	}{
		{"settings.motd", "settings", true}, {"settings", "settings", true}, {"settings", "settings.motd", false},
		{"settings.motd2", "settings.motd", false}, {`settings."a.b"`, "settings.a", false}, {`settings."a.b".c`, `settings."a.b"`, true},
	} {
		if got := key(c.inner).Below(key(c.outer)); got != c.want {
			t.Errorf("%s below %s: %v", c.inner, c.outer, got)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"settings.motd", `a."b.c/d".e`, `a"."b`, `"`, "..", `a."`, strings.Repeat("a.", 127) + "a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		k, err := ParseKey(in)
		if err != nil {
			return
		}
		again, err := ParseKey(k.String())
		if err != nil || again != k {
			t.Errorf("%q prints as %q, which reads as %q, %v", in, k, again, err)
		}
		same, err := NewKey(k.Segments()...)
		if err != nil || same != k {
			t.Errorf("%q has segments %q, which make %q, %v", in, k.Segments(), same, err)
		}
		file := path(k)
		if back, meta, ok := parsePath(file); !ok || meta != "" || back != k {
			t.Errorf("%q is stored as %q, which reads as %q %q %v", in, file, back, meta, ok)
		}
	})
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"settings/motd", "settings/motd.affected-services", "a/b%2Ec%2Fd", "a/%2e", "a/.x", "a//b", "a.b.c", "%", "%4", "a/%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, file string) {
		k, meta, ok := parsePath(file)
		if !ok {
			return
		}
		back := path(k)
		if meta != "" {
			back += "." + encode(meta)
		}
		if back != file {
			t.Errorf("%q reads as %q %q, which is stored as %q", file, k, meta, back)
		}
	})
}
