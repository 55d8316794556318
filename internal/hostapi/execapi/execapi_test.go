// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package execapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMessagesAreAsTheyAlwaysWere(t *testing.T) {
	for want, m := range map[string]ClientMessage{
		`{"Initialize":{"command":[{"Unix":[108,115]},{"Unix":[255]},{"Unix":[]}],"target":"admin","tty":null}}`: {
			Initialize: &Initialize{Command: []OSString{"ls", "\xff", ""}, Target: "admin"}},
		`{"Initialize":{"command":[{"Unix":[97]}],"target":"a","tty":{"size":null}}}`: {
			Initialize: &Initialize{Command: []OSString{"a"}, Target: "a", TTY: &TTY{}}},
		`{"Initialize":{"command":[{"Unix":[97]}],"target":"a","tty":{"size":{"rows":24,"cols":80}}}}`: {
			Initialize: &Initialize{Command: []OSString{"a"}, Target: "a", TTY: &TTY{Size: &Size{24, 80}}}},
		`"ContentComplete"`:                 {ContentComplete: true},
		`{"Winch":{"rows":0,"cols":65535}}`: {Winch: &Size{0, 65535}},
	} {
		got, err := json.Marshal(m)
		if err != nil || string(got) != want {
			t.Errorf("%s %v, want %s", got, err, want)
		}
		back, err := ParseClient([]byte(want))
		if diff := cmp.Diff(m, back); diff != "" || err != nil {
			t.Errorf("%s: %v %s", want, err, diff)
		}
	}
	const capacity = `{"Capacity":{"max_messages_outstanding":1024,"messages_written":128}}`
	m := ServerMessage{Capacity{1024, 128}}
	if got, err := json.Marshal(m); err != nil || string(got) != capacity {
		t.Errorf("%s %v", got, err)
	}
	if got, err := ParseServer([]byte(capacity)); err != nil || got != m {
		t.Errorf("%v %v", got, err)
	}
}

func TestOthersAreRefused(t *testing.T) {
	for _, text := range []string{
		``, `null`, `0`, `[]`, `{}`, `"contentcomplete"`, `{"ContentComplete":null}`, `{"Winch":null}`, `{"Winch":{}}`, `{"Winch":{"rows":1}}`,
		`{"Winch":{"rows":-1,"cols":1}}`, `{"Winch":{"rows":1.5,"cols":1}}`, `{"Winch":{"rows":1,"cols":65536}}`, `{"Winch":{"rows":1,"cols":1}} 1`,
		`{"Winch":{"rows":1,"cols":1},"Initialize":{}}`, `{"Initialize":null}`, `{"Initialize":{}}`, `{"Initialize":{"target":"a"}}`,
		`{"Initialize":{"command":[{"Unix":[97]}]}}`, `{"Initialize":{"command":["ls"],"target":"a"}}`, `{"Initialize":{"command":[{"Unix":"ls"}],"target":"a"}}`,
		`{"Initialize":{"command":[{"Unix":[256]}],"target":"a"}}`, `{"Initialize":{"command":[{"Unix":[null]}],"target":"a"}}`,
		`{"Initialize":{"command":[{"Windows":[97]}],"target":"a"}}`, `{"Initialize":{"command":[{"Unix":[97],"x":[]}],"target":"a"}}`,
		`{"Initialize":{"command":[null],"target":"a"}}`, `{"Initialize":{"command":[{"Unix":[97]}],"target":"a","tty":true}}`,
		`{"Initialize":{"command":[{"Unix":[97]}],"target":"a","tty":{"size":{"rows":1}}}}`, `{"Capacity":{"max_messages_outstanding":1,"messages_written":1}}`,
		strings.Repeat(`{"Winch":`, 20000),
	} {
		if m, err := ParseClient([]byte(text)); err == nil {
			t.Errorf("%.60s: %+v", text, m)
		}
	}
	for _, text := range []string{``, `null`, `{}`, `"Capacity"`, `{"Capacity":null}`, `{"Capacity":{}}`, `{"Capacity":{"max_messages_outstanding":1}}`,
		`{"Capacity":{"max_messages_outstanding":-1,"messages_written":1}}`, `{"Winch":{"rows":1,"cols":1}}`} {
		if m, err := ParseServer([]byte(text)); err == nil {
			t.Errorf("%s: %+v", text, m)
		}
	}
}

// What is read and written again is the same message.
func FuzzParseClient(f *testing.F) {
	f.Add([]byte(`{"Initialize":{"command":[{"Unix":[108,115]}],"target":"admin","tty":{"size":{"rows":1,"cols":2}}}}`))
	f.Add([]byte(`"ContentComplete"`))
	f.Add([]byte(`{"Winch":{"rows":1,"cols":2}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseClient(data)
		if err != nil {
			if m != (ClientMessage{}) {
				t.Fatalf("an error, and %+v", m)
			}
			return
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		again, err := ParseClient(text)
		if diff := cmp.Diff(m, again); diff != "" || err != nil {
			t.Fatalf("%s: %v %s", text, err, diff)
		}
	})
}
