// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package userdata

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseKeepsWhatIsWritten(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", `{}`},
		{"kinds", "a = 'x'\nb = true\nc = -7\nd = [1, 'y', [false]]\n[e.f]\ng = 0\n", `{"a":"x","b":true,"c":-7,"d":[1,"y",[false]],"e":{"f":{"g":0}}}`},
		{"numbers", "a = 1.0\nb = 1e3\nc = 0.5\nd = 9223372036854775807\ne = 0x10\nf = 1_000\ng = -0.0", `{"a":1.0,"b":1000.0,"c":0.5,"d":9223372036854775807,"e":16,"f":1000,"g":-0.0}`},
		{"a byte order mark and line ends of another system", "\ufeffa = 'x'\r\nb = 1\r\n", `{"a":"x","b":1}`},
		{"tables in lists", "[[a]]\nb = 1\n[[a]]\nc = { d = 2 }\n", `{"a":[{"b":1},{"c":{"d":2}}]}`},
	} {
		v, err := Parse([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got, err := json.Marshal(v)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.name, got, err, c.want)
		}
	}
}

func TestMistakesNameLineAndKey(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Error
	}{
		{"a date", "[settings]\n\nmotd = 2020-01-01\n", Error{3, "settings.motd", "no setting is a date"}},
		{"a time in a list", "[settings.ntp]\ntime-servers = ['a', 07:32:00]\n", Error{2, "settings.ntp.time-servers", "no setting is a date or a time"}},
		{"infinity", "[settings.updates]\nseed = inf\n", Error{2, "settings.updates.seed", "+Inf is not valid"}},
		{"no number", "[a]\n'b.c' = nan\n", Error{2, `a."b.c"`, "NaN is not valid"}},
		{"in a table of a list", "[[a]]\nb = 1\n[[a]]\nb = inf\n", Error{3, "a.b", "item 2: +Inf"}},
		{"in a list", "[a]\nb = [\n  1,\n  inf,\n]\n", Error{4, "a.b", "item 2: +Inf"}},
		{"deep", "a = " + strings.Repeat("[", 100) + strings.Repeat("]", 100), Error{1, "a", "nested too deeply"}},
		{"twice", "[a]\nb = 1\nb = 2\n", Error{3, "a.b", "already defined"}},
		{"a table twice", "[a]\nb = 1\n\n[a]\nc = 2\n", Error{4, "a", "already"}},
		{"no value", "a = 1\nb =\n", Error{2, "", ""}},
		{"no end", "a = 'x\nb = 1\n", Error{1, "", ""}},
		{"too large", "a = 9223372036854775808\n", Error{1, "a", ""}},
		{"no text", "a = '\xff'\n", Error{1, "", "UTF-8"}},
		{"zero bytes", "a = 1\n\x00", Error{2, "", ""}},
		{"another encoding", "\xff\xfea\x00=\x001\x00", Error{1, "", ""}},
		{"YAML", "settings:\n  motd: x\n", Error{1, "", ""}},
		{"JSON", `{"settings":{"motd":"x"}}`, Error{1, "", ""}},
	} {
		_, err := Parse([]byte(c.text))
		got, ok := errors.AsType[*Error](err)
		if !ok || got.Line != c.want.Line || c.want.Key != "" && got.Key != c.want.Key || !strings.Contains(got.Reason, c.want.Reason) {
			t.Errorf("%s: %+v (%v), want %+v", c.name, got, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "toml")) {
			t.Errorf("%s: %q", c.name, err)
		}
	}
}

func TestLineOf(t *testing.T) {
	text := []byte("# hosts\n[settings]\nmotd = 'x'\n\n[settings.kubernetes]\nnode-labels = { 'a.b/c' = 'd', 'e f' = 'g' }\n[settings.kubernetes.node-taints]\n\"x y\" = 'z:NoSchedule'\n")
	for _, c := range []struct {
		key  string // names separated by blanks, of which _ stands for one
		want int
	}{
		{"settings", 2}, {"settings motd", 3}, {"settings kubernetes", 5}, {"settings kubernetes node-labels a.b/c", 6}, {"settings kubernetes node-labels e_f", 6},
		{"settings kubernetes node-taints x_y", 8}, {"settings kubernetes node-taints other", 7}, {"other", 0},
	} {
		key := strings.Fields(c.key)
		for i := range key {
			key[i] = strings.ReplaceAll(key[i], "_", " ")
		}
		if got := LineOf(text, key); got != c.want {
			t.Errorf("%s: line %d, want %d", c.key, got, c.want)
		}
	}
}

func TestLineOfItem(t *testing.T) {
	text := []byte("[a]\nb = [\n  'x', # one\n  # none\n  'y', 'z',\n  [ [\n  7 ] ],\n  true,\n]\n[[a.c]]\nd = 1\n[a.c.e]\nf = [1]\n[[a.c]]\nd = 2\n")
	for _, c := range []struct {
		key  string
		item int
		want int
	}{
		{"a b", 0, 2}, {"a b", 1, 3}, {"a b", 2, 5}, {"a b", 3, 5}, {"a b", 4, 7}, {"a b", 5, 8}, {"a b", 6, 2},
		{"a c", 0, 10}, {"a c", 1, 10}, {"a c", 2, 14}, {"a c", 3, 10}, {"a", 1, 1}, {"other", 1, 0},
	} {
		if got := LineOfItem(text, strings.Fields(c.key), c.item); got != c.want {
			t.Errorf("%s, item %d: line %d, want %d", c.key, c.item, got, c.want)
		}
	}
}

// Whatever is read can be written as JSON and means the same there; whatever is not is told in one line, with the line
// of the text.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"[settings]\nmotd = 'x'\n", "a = 1979-05-27T07:32:00Z", "a.b.'c d' = [1, 2.5]", "[[a]]\nb = inf", "\ufeffa = 1", "a = '''\nx'''", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := Parse(text)
		if err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Reason == "" || e.Line < 0 || e.Line > strings.Count(string(text), "\n")+1 {
				t.Errorf("%q: %#v", text, err)
			}
			return
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		d := json.NewDecoder(strings.NewReader(string(data)))
		d.UseNumber()
		var again map[string]any
		if err := d.Decode(&again); err != nil {
			t.Fatalf("%q: %s: %v", text, data, err)
		}
		if diff := cmp.Diff(v, again); diff != "" {
			t.Errorf("%q as JSON: %s", text, diff)
		}
	})
}
