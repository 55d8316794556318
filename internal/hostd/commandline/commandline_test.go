// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package commandline

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"bork seed": {"bork", "seed"}, `  a   'b c' "d 'e'" f\ g `: {"a", "b c", "d 'e'", "f g"}, `a '' x'y'z`: {"a", "", "xyz"},
		`grep "\d\." '\d' \d`: {"grep", `\d\.`, `\d`, "d"}, `"a\"b\\c\$d"`: {`a"b\c$d`}, `$HOME * "$(x)"`: {"$HOME", "*", "$(x)"},
		"a\tb\nc": {"a", "b", "c"}, `ü"é ñ"`: {"üé ñ"},
	} {
		if got, err := Split(line); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: %q, %v", line, got, err)
		}
	}
	for _, line := range []string{"", "  ", "a 'b", `a "b`, `a \`} {
		if got, err := Split(line); err == nil {
			t.Errorf("%s: %q", line, got)
		}
	}
}

// What is quoted word by word is the same words again.
func FuzzSplit(f *testing.F) {
	f.Add("a", "b c")
	f.Add(`d'e"`, `\`)
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			return
		}
		quoted := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
		got, err := Split(quoted(a) + " " + quoted(b))
		if err != nil || !cmp.Equal(got, []string{a, b}) {
			t.Errorf("%q %q: %q, %v", a, b, got, err)
		}
		_, _ = Split(a) // no line ends it
	})
}
