// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/cli"
)

// fleetOfFive has a node in each kind of situation, and one slot.
func fleetOfFive(t *testing.T) *world {
	t.Helper()
	busy := updating("b", v2.RebootedIntoUpdate, v2.StagedAndPerformedUpdate)
	busy.Status.Message = "draining, 3 pods left"
	current := shadow("a")
	current.Status.CurrentVersion, current.Status.Slot, current.Status.BootID = "1.21.0", "B", "5d5a4eb4"
	cordoned := node("b")
	cordoned.Spec.Unschedulable = true
	cordoned.Annotations = map[string]string{v2.CordonedByAnnotation: v2.CordonOwner}
	objects := append(operator("1", "c"), node("a"), current, cordoned, busy, node("c"), shadow("c"),
		node("d"), failed("d", "image does not match its\nsigned digest\x1b[2J"), node("e"))
	return newWorld(t, objects...)
}

func TestStatusShowsEveryNode(t *testing.T) {
	w := fleetOfFive(t)
	r := w.run(t, "status")
	sameText(t, "stdout", w.withoutSentences(t, r.stdout), `
NODE  STATE                 VERSION  TARGET  SLOT  FAILURES  SINCE  DOING
a     Idle                  1.21.0   -       B     0         -      <UpToDate>
b     → RebootedIntoUpdate  1.20.0   1.21.0  A     0         60s    draining, 3 pods left
c     Idle                  1.20.0   1.21.0  A     0         -      <NoSlot>
d     Idle                  1.20.0   1.21.0  A     1         -      <BackOff>
e     -                     -        -       -     0         -      <NoShadow>
`)
	if r.err != nil || r.stderr != "" {
		t.Errorf("error %v, stderr %q, want none", r.err, r.stderr)
	}
	if !strings.Contains(r.stdout, "image does not match its signed digest[2J\n") {
		t.Errorf("stdout %q, want the error on one line and without the escape that would clear the screen", r.stdout)
	}
}

func TestStatusWide(t *testing.T) {
	r := fleetOfFive(t).run(t, "status", "-o", "wide")
	lines := strings.Split(r.stdout, "\n")
	for i, want := range []string{
		"NODE  READY  CORDONED  STATE                     WANTED              VERSION  TARGET  SLOT  BOOT-ID   FAILURES  SINCE  DOING",
		"a     yes    no        Idle                      Idle                1.21.0   -       B     5d5a4eb4  0         -      ",
		"b     yes    drydock   StagedAndPerformedUpdate  RebootedIntoUpdate  1.20.0   1.21.0  A     -         0         60s    draining, 3 pods left",
	} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d is\n%s\nwant it to begin with\n%s", i, lines[i], want)
		}
	}
}

func TestStatusForPrograms(t *testing.T) {
	var fromJSON, fromYAML statusReport
	if err := json.Unmarshal([]byte(fleetOfFive(t).run(t, "status", "-o", "json").stdout), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(fleetOfFive(t).run(t, "status", "-o", "yaml").stdout), &fromYAML); err != nil {
		t.Fatal(err)
	}
	for _, got := range []statusReport{fromJSON, fromYAML} {
		if len(got.Nodes) != 5 || got.Namespace != testNamespace {
			t.Fatalf("got %+v, want five nodes and the namespace", got)
		}
		b, c, d := got.Nodes[1], got.Nodes[2], got.Nodes[3]
		if b.WantedState != "RebootedIntoUpdate" || b.Since == nil || !b.Since.Equal(noon.Add(-time.Minute)) || !b.CordonedByDrydock || b.Failed {
			t.Errorf("b is %+v", b)
		}
		if c.Next == nil || c.Next.Reason != "NoSlot" || c.Next.Ahead == nil || *c.Next.Ahead != 0 {
			t.Errorf("c is %+v, want it to be first in line", c)
		}
		if !d.Failed || d.Next.Until == nil || !strings.Contains(d.LastError, "signed digest") {
			t.Errorf("d is %+v, want it failed", d)
		}
	}
}

func TestStatusExitCode(t *testing.T) {
	if r := fleetOfFive(t).run(t, "status", "--exit-code"); !errors.Is(r.err, ErrNodeFailed) {
		t.Errorf("with a failed node: %v, want ErrNodeFailed", r.err)
	}
	fine := newWorld(t, append(operator("1", ""), node("a"), shadow("a"))...)
	if r := fine.run(t, "status", "--exit-code"); r.err != nil {
		t.Errorf("without a failed node: %v, want none", r.err)
	}
	if r := fine.run(t, "status", "--exit-code", "-w"); cli.ExitCode(r.err) != cli.ExitUsage || cli.Hint(r.err) == "" {
		t.Errorf("with --watch: %v, want a mistake on the command line", r.err)
	}
}

// A host that cannot look for updates runs what it was last offered: it is not known to be up to date.
func TestAHostThatCannotLookIsNotUpToDate(t *testing.T) {
	brs := shadow("a")
	brs.Status.TargetVersion = "1.20.0"
	brs.Status.UpdateCheck = &v2.UpdateCheck{Error: "no route to host", FailingSince: noon.Add(-time.Hour).Format(time.RFC3339)}
	brs.Status.Message = "update check failed: no route to host"
	w := newWorld(t, append(operator("1", ""), node("a"), brs)...)
	f, err := w.load(t.Context(), w.cluster)
	if err != nil {
		t.Fatal(err)
	}
	report := f.report(noon)
	if got := f.summary(report, noon); got != "1 node: 1 waiting; at most 1 at once" {
		t.Errorf("summary %q", got)
	}
	if c := report[0].colour(); c != red {
		t.Errorf("the node has colour %q, want red", c)
	}
	if r := w.run(t, "node", "a"); strings.Contains(r.stdout, "Message:") || !strings.Contains(r.stdout, "no route to host") {
		t.Errorf("stdout\n%swant the cause where it says what the node waits for, and not again", r.stdout)
	}
}

func TestStatusOfAnEmptyFleetSaysHowToBegin(t *testing.T) {
	r := newWorld(t, operator("1", "")...).run(t, "status")
	if r.err != nil || r.stdout != "" || !strings.Contains(r.stderr, "kubectl label node NAME "+v2.UpdaterInterfaceLabel+"=2.0.0") {
		t.Errorf("error %v, stdout %q, stderr %q, want only the label on stderr", r.err, r.stdout, r.stderr)
	}
}

// refuse makes requests for a list fail.
func (w *world) refuse(t *testing.T, list client.ObjectList, err error) {
	t.Helper()
	inner, ok := w.cluster.client.(client.WithWatch)
	if !ok {
		t.Fatal("not a fake client")
	}
	kind := schema.GroupVersionKind{}
	if kinds, _, lookup := scheme().ObjectKinds(list); lookup == nil {
		kind = kinds[0]
	}
	w.cluster.client = interceptor.NewClient(inner, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if kinds, _, lookup := scheme().ObjectKinds(l); lookup == nil && kinds[0] == kind {
				return err
			}
			return c.List(ctx, l, opts...)
		},
	})
}

func TestStatusWithoutTheControllersSettingsStillShowsNodes(t *testing.T) {
	w := newWorld(t, node("a"), updating("a", v2.RebootedIntoUpdate, v2.StagedAndPerformedUpdate), node("b"), shadow("b"))
	r := w.run(t, "status")
	if r.err != nil || !strings.Contains(r.stderr, "no controller is deployed in namespace "+testNamespace) {
		t.Errorf("error %v, stderr %q, want a warning about the controller", r.err, r.stderr)
	}
	sameText(t, "stdout", r.stdout, `
NODE  STATE                 VERSION  TARGET  SLOT  FAILURES  SINCE  DOING
a     → RebootedIntoUpdate  1.20.0   1.21.0  A     0         60s    -
b     Idle                  1.20.0   1.21.0  A     0         -      -
`)
}

func TestErrorsSayWhatToTryNext(t *testing.T) {
	brs := schema.GroupResource{Group: v2.GroupVersion.Group, Resource: shadows}
	tests := map[string]struct {
		err  error
		want []string
		hint string
	}{
		"forbidden":     {apierrors.NewForbidden(brs, "", errors.New("no")), []string{"listing " + shadows, "forbidden"}, "you may not list " + shadows},
		"unauthorized":  {apierrors.NewUnauthorized("expired"), []string{"expired"}, "log in again"},
		"no definition": {apierrors.NewGenericServerResponse(404, "get", brs, "", "", 0, true), []string{"listing " + shadows}, "not installed in this cluster"},
		"too slow":      {context.DeadlineExceeded, []string{"no cluster reachable at https://cluster.example"}, "--context"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := fleetOfFive(t)
			w.refuse(t, &v2.BottlerocketShadowList{}, tt.err)
			r := w.run(t, "status")
			if r.err == nil || r.stdout != "" {
				t.Fatalf("error %v, stdout %q, want an error alone", r.err, r.stdout)
			}
			for _, want := range tt.want {
				if !strings.Contains(r.err.Error(), want) {
					t.Errorf("error %q, want %q in it", r.err, want)
				}
			}
			if hint := cli.Hint(r.err); !strings.Contains(hint, tt.hint) {
				t.Errorf("hint %q, want %q in it", hint, tt.hint)
			}
		})
	}
}

func TestWrongCommandLines(t *testing.T) {
	for line, want := range map[string]string{
		"status node-1":                 `drydock status takes no argument, but got "node-1"`,
		"status -o xml":                 "may only be json, yaml or wide",
		"plan -o wide":                  "may only be json or yaml",
		"status --watch --exit-code":    "give one of them",
		"status --request-timeout soon": `--request-timeout is "soon", but may only be a time such as 5s or 2m`,
	} {
		w := fleetOfFive(t)
		w.connect = w.connectByFlags
		if r := w.run(t, strings.Fields(line)...); r.err == nil || !strings.Contains(r.err.Error(), want) || r.stdout != "" {
			t.Errorf("%s: error %v, stdout %q, want %q", line, r.err, r.stdout, want)
		}
	}
}

func TestWatchOffATerminalPrintsALineForEachChange(t *testing.T) {
	var out, stderr bytes.Buffer
	text := format("")
	s := &shower{out: &out, stderr: &stderr, format: &text, said: map[string]nodeReport{}}
	a := nodeReport{Name: "a", State: "Idle", WantedState: "Idle", Version: "1.20.0", Slot: "A", Message: "1.21.0 is available"}
	notReady := a // which the line does not show
	a.Ready = true
	for _, look := range [][]nodeReport{{a}, {a}, {notReady}, {{Name: "a", State: "Idle", WantedState: "StagedAndPerformedUpdate", Version: "1.20.0", Slot: "A"}}, {}} {
		if err := s.lines(look, noon); err != nil {
			t.Fatal(err)
		}
	}
	sameText(t, "stdout", out.String(), `
12:00:00  a  Idle  1.20.0  slot A  1.21.0 is available
12:00:00  a  → StagedAndPerformedUpdate  1.20.0  slot A
12:00:00  a  gone
`)
}

// What a node has said of the state that it is about to leave is not what it does.
func TestAMessageOfTheStateBeforeIsNotShown(t *testing.T) {
	for _, tt := range []struct{ state, wanted, reason, message, want string }{
		{"Idle", "StagedAndPerformedUpdate", "Staging", "1.21.0 is available", "of the plan"},
		{"Idle", "StagedAndPerformedUpdate", "Staging", "downloading 1.21.0", "downloading 1.21.0"},
		{"StagedAndPerformedUpdate", "RebootedIntoUpdate", "Rebooting", "1.21.0 is staged, waiting for the reboot", "of the plan"},
		{"StagedAndPerformedUpdate", "StagedAndPerformedUpdate", "Staging", "1.21.0 is staged, waiting for the reboot", "1.21.0 is staged, waiting for the reboot"},
		{"StagedAndPerformedUpdate", "RebootedIntoUpdate", "Rebooting", "draining for 1.21.0", "draining for 1.21.0"},
		{"StagedAndPerformedUpdate", "RebootedIntoUpdate", "Rebooting", "", "of the plan"},
		{"Idle", "Idle", "NoSlot", "1.21.0 is available", "of the plan"},
		{"StagedAndPerformedUpdate", "Idle", "Finishing", "draining for 1.21.0", "of the plan"},
	} {
		r := nodeReport{State: tt.state, WantedState: tt.wanted, Message: tt.message, Next: &next{Reason: tt.reason, Text: "of the plan"}}
		if got := r.doing(); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

func TestWatchTellsOnceThatTheClusterIsAway(t *testing.T) {
	var out, stderr bytes.Buffer
	text := format("")
	changes := 0
	l := &line{changed: func() { changes++ }}
	var answer error
	trip := l.wrap(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK}, answer
	}))
	s := &shower{out: &out, stderr: &stderr, format: &text, said: map[string]nodeReport{}, empty: true, screen: screen{}}
	for _, answer = range []error{nil, errors.New("connection refused"), errors.New("no route to host"), nil, nil} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api", nil)
		_, _ = trip.RoundTrip(req)
		if err := s.show(&fleet{settings: settings{problem: errors.New("not known")}}, noon, l.trouble()); err != nil {
			t.Fatal(err)
		}
	}
	sameText(t, "stderr", stderr.String(), `
drydock: warning: the cluster does not answer, trying again: connection refused
The cluster answers again.
`)
	if changes != 2 {
		t.Errorf("%d changes, want 2", changes)
	}
}

func TestWatchOnATerminalDrawsOverTheLastTable(t *testing.T) {
	f := &fleet{settings: settings{problem: errors.New("not known")}}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		brs := shadow(name)
		brs.Status.TargetVersion = "1.20.0"
		if name == "e" {
			brs = failed(name, "no")
		}
		f.shadows = append(f.shadows, *brs)
	}
	var out bytes.Buffer
	text := format("")
	s := &shower{out: &out, format: &text, screen: screen{live: true, colour: true, size: func() (int, int) { return 60, 10 }}}
	for range 2 {
		if err := s.show(f, noon, nil); err != nil {
			t.Fatal(err)
		}
	}
	first, second, ok := strings.Cut(out.String(), "\x1b[8A\x1b[J")
	if !ok || first != second {
		t.Fatalf("second table\n%q\nis not drawn over the first\n%q", second, first)
	}
	lines := strings.Split(strings.TrimSuffix(first, "\n"), "\n")
	if len(lines) != 8 || !strings.Contains(first, "e     \x1b[31mIdle") || !strings.Contains(first, "… and 4 nodes more at rest") {
		t.Errorf("%d lines, want 8 with the failed node in red and the others counted:\n%s", len(lines), first)
	}
}
