// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/controller"
)

// event happened before noon.
func event(name, kind, of string, ago time.Duration, source, reason, text string) *corev1.Event {
	namespace := testNamespace
	if kind == "Node" {
		namespace = metav1.NamespaceDefault
	}
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: name},
		InvolvedObject: corev1.ObjectReference{Kind: kind, Name: of},
		EventTime:      metav1.NewMicroTime(noon.Add(-ago)), ReportingController: source,
		Type: corev1.EventTypeNormal, Reason: reason, Message: text,
	}
}

func TestNodeShowsWhatItWaitsForAndItsHistory(t *testing.T) {
	blocked := event("3", "Node", "b", 30*time.Second, "drydock-apiserver", "DrainBlocked", "web-0 may not be evicted")
	blocked.Type, blocked.Series = corev1.EventTypeWarning, &corev1.EventSeries{Count: 3, LastObservedTime: metav1.NewMicroTime(noon.Add(-10 * time.Second))}
	w := fleetOfFive(t)
	for _, e := range []*corev1.Event{
		blocked,
		event("1", "Node", "b", time.Minute, "drydock-controller", "UpdateStaged", "1.21.0 is staged"),
		event("2", "BottlerocketShadow", "brs-b", time.Minute, "drydock-controller", "UpdateStaged", "1.21.0 is staged"),
		event("4", "Node", "a", time.Minute, "drydock-controller", "UpdateStaged", "of another node"),
	} {
		if err := w.cluster.client.Create(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	r := w.run(t, "node", "node/b")
	sameText(t, "stdout", w.withoutSentences(t, r.stdout), `
Node:       b
Version:    1.20.0, to become 1.21.0
State:      → RebootedIntoUpdate (asked for 60s ago, at 2026-03-01T11:59:00Z)
Slot:       A
Ready:      yes
Cordoned:   by drydock, until the update is done
Waits for:  NodeAgent (Rebooting): <Rebooting>
Message:    draining, 3 pods left

Conditions:
OF    TYPE   STATUS  REASON        SINCE  MESSAGE
node  Ready  True    KubeletReady  60m    kubelet runs pods

History:
TIME                  BY                  WHAT          TEXT
2026-03-01T11:59:00Z  drydock-controller  UpdateStaged  1.21.0 is staged
2026-03-01T11:59:50Z  drydock-apiserver   DrainBlocked  web-0 may not be evicted (3 times)
`)
	if r.err != nil || r.stderr != "" {
		t.Errorf("error %v, stderr %q, want none", r.err, r.stderr)
	}
}

func TestANodeThatFailedSaysWhyOnce(t *testing.T) {
	brs := failed("d", "no space left")
	brs.Status.StateTransitionFailureTimestamp = new(noon.Add(-30 * time.Second).Add(123456789).Format(time.RFC3339Nano))
	r := newWorld(t, append(operator("1", ""), node("d"), brs)...).run(t, "node", "d")
	if r.err != nil || strings.Count(r.stdout, "no space left") != 1 || !strings.Contains(r.stdout, "1 failed attempt, the last at 2026-03-01T11:59:30Z\n") {
		t.Errorf("error %v, stdout\n%swant the reason once, and a time of the day", r.err, r.stdout)
	}
	r = newWorld(t, node("d"), brs).run(t, "node", "d")
	if r.err != nil || !strings.Contains(r.stdout, "Last error:  no space left\n") {
		t.Errorf("error %v, stdout\n%swant the reason, also where the plan is not known", r.err, r.stdout)
	}
}

// The node itself knows nothing of an attempt that the controller has called off.
func TestAnAttemptThatTookTooLongIsAFailure(t *testing.T) {
	slow := failed("d", "no space left")
	at := noon.Add(-10 * time.Second).Format(time.RFC3339)
	slow.Annotations = map[string]string{v2.TimedOutAnnotation: `{"count":2,"at":"` + at + `","state":"RebootedIntoUpdate"}`}
	w := newWorld(t, append(operator("1", ""), node("d"), slow)...)
	r := w.run(t, "node", "d")
	if r.err != nil || !strings.Contains(r.stdout, "3 failed attempts, the last at "+at+"\n") || strings.Count(r.stdout, "no answer in time") != 1 {
		t.Errorf("error %v, stdout\n%swant all attempts, and the cause of the last one once", r.err, r.stdout)
	}
	if r = w.run(t, "status", "--exit-code"); !errors.Is(r.err, ErrNodeFailed) {
		t.Errorf("error %v, want that of a node that failed", r.err)
	}
}

func TestACordonThatOutlivesItsUpdateIsNotPutDownToOne(t *testing.T) {
	left := node("d")
	left.Spec.Unschedulable = true
	left.Annotations = map[string]string{v2.CordonedByAnnotation: v2.CordonOwner}
	r := newWorld(t, append(operator("1", ""), left, shadow("d"))...).run(t, "node", "d")
	if r.err != nil || !strings.Contains(r.stdout, "by drydock, although no update is under way\n") || !strings.Contains(r.stdout, "(CordonLeft)") {
		t.Errorf("error %v, stdout\n%swant a cordon without an update", r.err, r.stdout)
	}
}

func TestNodeForPrograms(t *testing.T) {
	var d nodeDetail
	if err := json.Unmarshal([]byte(fleetOfFive(t).run(t, "node", "d", "-o", "json").stdout), &d); err != nil {
		t.Fatal(err)
	}
	if d.Name != "d" || !d.OptedIn || d.Failures != 1 || d.Next == nil || d.Next.Reason != "BackOff" || len(d.NodeConditions) != 1 || d.History == nil {
		t.Errorf("got %+v", d)
	}
}

func TestConditionsAreReadWhereThereAreSome(t *testing.T) {
	condition := map[string]any{"type": "Drained", "status": "False", "reason": "Blocked", "message": "web-0", "lastTransitionTime": "2026-03-01T11:00:00Z"}
	tests := []struct {
		status map[string]any
		want   int
		fails  bool
	}{
		{status: map[string]any{}},
		{status: map[string]any{"conditions": []any{condition}}, want: 1},
		{status: map[string]any{"conditions": []any{"Ready"}}, fails: true},
		{status: map[string]any{"conditions": "Ready"}, fails: true},
	}
	for _, tt := range tests {
		got, err := conditionsOf(&unstructured.Unstructured{Object: map[string]any{"status": tt.status}})
		if len(got) != tt.want || (err != nil) != tt.fails {
			t.Errorf("%v: %v, %v, want %d conditions, an error: %v", tt.status, got, err, tt.want, tt.fails)
		}
		if tt.want == 1 && (got[0].Reason != "Blocked" || !got[0].LastTransitionTime.Equal(&metav1.Time{Time: noon.Add(-time.Hour)})) {
			t.Errorf("condition %+v", got[0])
		}
	}
}

func TestNodeThatTakesNoPart(t *testing.T) {
	n := node("a")
	n.Labels = nil
	r := newWorld(t, append(operator("1", ""), n)...).run(t, "node", "a")
	if r.err != nil || !strings.Contains(r.stdout, "kubectl label node a "+v2.UpdaterInterfaceLabel+"=2.0.0") {
		t.Errorf("error %v, stdout %q, want the label that brings it in", r.err, r.stdout)
	}
}

func TestNamesOfNodesAreCompleted(t *testing.T) {
	r := fleetOfFive(t).run(t, "__complete", "node", "")
	if r.err != nil || !strings.HasPrefix(r.stdout, "a\nb\nc\nd\ne\n") {
		t.Errorf("error %v, stdout %q, want the names", r.err, r.stdout)
	}
}

func TestNodeThatDoesNotExist(t *testing.T) {
	w := fleetOfFive(t)
	if r := w.run(t, "node", "x"); r.err == nil || !strings.Contains(cli.Hint(r.err), "drydock status") {
		t.Errorf("error %v with hint %q, want where to find the names", r.err, cli.Hint(r.err))
	}
	if r := w.run(t, "node"); cli.ExitCode(r.err) != cli.ExitUsage {
		t.Errorf("without a name: %v, want a mistake on the command line", r.err)
	}
}

func TestPlanSaysWhoIsNextAndWhyOthersWait(t *testing.T) {
	objects := append(operator("2", "a"), node("a"), shadow("a"), node("b"), shadow("b"),
		node("c"), updating("c", v2.StagedAndPerformedUpdate, v2.Idle), node("d"), shadow("d"), shadow("gone"))
	w := newWorld(t, objects...)
	r := w.run(t, "plan")
	sameText(t, "stdout", w.withoutSentences(t, r.stdout), `
At most 2 at once; 2 in an update or unavailable. a goes last: the controller runs there.

Moves:
NODE  FROM  TO                        REASON           WHY
b     Idle  StagedAndPerformedUpdate  UpdateAvailable  <UpdateAvailable>

Waiting:
NODE  REASON   WAITS-FOR   SINCE  WHY
d     NoSlot   OtherNodes  -      <NoSlot>
a     NoSlot   OtherNodes  -      <NoSlot>
c     Staging  NodeAgent   60s    <Staging>

To be removed:
NODE  REASON    WHY
gone  NodeGone  <NodeGone>
`)
	if r.err != nil {
		t.Error(r.err)
	}
}

func TestPlanForPrograms(t *testing.T) {
	objects := append(operator("1", "a"), node("a"), shadow("a"), node("b"), failed("b", "no"))
	var p planReport
	if err := json.Unmarshal([]byte(newWorld(t, objects...).run(t, "plan", "-o", "json").stdout), &p); err != nil {
		t.Fatal(err)
	}
	if p.MaxConcurrent != "1" || p.InProgress != 1 || p.OwnNode != "a" || len(p.Moves) != 1 || p.Moves[0].From != "Idle" ||
		len(p.Waiting) != 1 || p.Waiting[0].Reason != "BackOff" || p.NextChange == nil || p.Removals == nil {
		t.Errorf("got %+v", p)
	}
}

func TestPlanNeedsTheControllersSettings(t *testing.T) {
	elsewhere := operator("", "")
	for _, o := range elsewhere {
		if d, ok := o.(*appsv1.Deployment); ok {
			env := d.Spec.Template.Spec.Containers[0].Env
			env[len(env)-1].ValueFrom = &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{Key: "limit"}}
		}
	}
	for name, objects := range map[string][]client.Object{"no controller": {node("a")}, "wrong value": operator("many", ""), "from elsewhere": elsewhere} {
		r := newWorld(t, objects...).run(t, "plan")
		hint := cli.Hint(r.err)
		if r.err == nil || !strings.Contains(r.err.Error(), "there is no plan: ") || hint == "" {
			t.Errorf("%s: error %v with hint %q, want it to say what is missing", name, r.err, hint)
		}
		if named := strings.Contains(hint, "name it with -n"); named != (name == "no controller") {
			t.Errorf("%s: hint %q", name, hint)
		}
	}
}

func TestPlanOfNobodyNamesTheLabel(t *testing.T) {
	r := newWorld(t, operator("1", "")...).run(t, "plan")
	if r.err != nil || !strings.Contains(r.stdout, "kubectl label node NAME "+v2.UpdaterInterfaceLabel+"=2.0.0") || strings.Contains(r.stdout, "No node moves") {
		t.Errorf("error %v, stdout %q, want the label that brings a node in", r.err, r.stdout)
	}
	r = fleetOfFive(t).run(t, "plan")
	if r.err != nil || strings.Contains(r.stdout, "kubectl label") {
		t.Errorf("error %v, stdout %q, want no word of the label", r.err, r.stdout)
	}
}

func TestTheLeaseIsTheControllers(t *testing.T) {
	if controllerLease != controller.Name {
		t.Errorf("the leader is looked up at %q, the controller uses %q", controllerLease, controller.Name)
	}
}

func TestVersionTellsWhatIsDeployed(t *testing.T) {
	r := fleetOfFive(t).run(t, "version")
	for _, want := range []string{"drydock 0.1.0 (go", "\nkubernetes         v1.36.3\n", "\nbrupop-controller  registry.example/drydock:v0.1.0  2 of 2 ready\n"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("stdout %q, want %q in it", r.stdout, want)
		}
	}
}

func TestVersionSaysWhereItLookedInVain(t *testing.T) {
	r := newWorld(t).run(t, "version")
	if r.err != nil || r.stderr != "" || !strings.Contains(r.stdout, "\noperator    not found in namespace "+testNamespace+"\n") {
		t.Errorf("error %v, stdout %q, stderr %q, want the namespace", r.err, r.stdout, r.stderr)
	}
	w := fleetOfFive(t)
	w.refuse(t, &appsv1.DeploymentList{}, apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: deployments}, "", errors.New("no")))
	r = w.run(t, "version")
	if r.err != nil || !strings.Contains(r.stderr, "what is deployed is not known: listing deployments") || strings.Contains(r.stdout, "not found") {
		t.Errorf("error %v, stdout %q, stderr %q, want no claim about what may not be read", r.err, r.stdout, r.stderr)
	}
}

func TestVersionNeedsNoCluster(t *testing.T) {
	w := fleetOfFive(t)
	w.connect = func() (*cluster, error) { return nil, errors.New("no cluster is configured") }
	for _, args := range [][]string{{"version"}, {"version", "--client"}} {
		r := w.run(t, args...)
		if r.err != nil || !strings.HasPrefix(r.stdout, "drydock 0.1.0 (go") || strings.Count(r.stdout, "\n") != 1 {
			t.Errorf("%v: error %v, stdout %q, want one line", args, r.err, r.stdout)
		}
		if warned := strings.Contains(r.stderr, "no cluster is configured"); warned != (len(args) == 1) {
			t.Errorf("%v: stderr %q", args, r.stderr)
		}
	}
}

// TestTheManifestsSettingsCanBeRead holds the chart and this package together.
func TestTheManifestsSettingsCanBeRead(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join("..", "..", "deploy", "bottlerocket-update-operator.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for doc := range strings.SplitSeq(string(manifest), "\n---\n") {
		var d appsv1.Deployment
		if yaml.Unmarshal([]byte(doc), &d) != nil || d.Kind != "Deployment" || d.Labels[v2.ComponentLabel] != controllerComponent {
			continue
		}
		found = true
		s := newWorld(t).settingsOf(&d, "worker-1")
		if s.problem != nil || s.at(noon).OwnNode != "worker-1" || s.at(noon).MaxConcurrent != 1 {
			t.Errorf("settings %+v, want those of the chart", s)
		}
	}
	if !found {
		t.Error("the manifest has no controller with the label by which it is looked up")
	}
}
