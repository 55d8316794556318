// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestExpand(t *testing.T) {
	values := map[string]string{"A": "1", "B": "$(A)", "EMPTY": ""}
	for in, want := range map[string]string{
		"":              "",
		"plain":         "plain",
		"$(A)":          "1",
		"x$(A)y$(A)z":   "x1y1z",
		"$(B)":          "$(A)", // values are not expanded again
		"$$(A)":         "$(A)",
		"$$$(A)":        "$1",
		"$(UNKNOWN)":    "$(UNKNOWN)",
		"$(EMPTY)":      "",
		"$(A":           "$(A",
		"$A":            "$A",
		"price: 5$":     "price: 5$",
		"$(A)$(NO)$(A)": "1$(NO)1",
	} {
		if got := expand(in, values); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// Text without a dollar sign never changes, and expanding never invents text for unknown names.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"$(A)", "$$", "$(", "a$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := expand(s, nil)
		if !strings.Contains(s, "$") && got != s || !strings.Contains(s, "$$") && got != s {
			t.Errorf("%q became %q", s, got)
		}
	})
}

func TestFields(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u", Labels: map[string]string{"b": "2", "a": `say "hi"`}},
		Spec: corev1.PodSpec{NodeName: "node", ServiceAccountName: "sa", Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("50Mi")},
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")},
		}}}},
		Status: corev1.PodStatus{PodIP: "10.0.0.2", HostIP: "192.168.0.1"},
	}
	for path, want := range map[string]string{
		"metadata.name": "p", "metadata.namespace": "n", "metadata.uid": "u", "metadata.labels['b']": "2", "metadata.labels['no']": "",
		"metadata.labels": "a=\"say \\\"hi\\\"\"\nb=\"2\"", "spec.nodeName": "node", "spec.serviceAccountName": "sa",
		"status.podIP": "10.0.0.2", "status.hostIP": "192.168.0.1",
	} {
		if got, err := fieldValue(pod, path); got != want || err != nil {
			t.Errorf("%s is %q, want %q, %v", path, got, want, err)
		}
	}
	if _, err := fieldValue(pod, "status.message"); err == nil {
		t.Error("an unknown field has a value")
	}
	for _, c := range []struct{ resource, divisor, want string }{
		{"limits.memory", "0", "52428800"}, {"limits.memory", "1Mi", "50"}, {"limits.memory", "64Mi", "1"},
		{"requests.cpu", "0", "2"}, {"requests.cpu", "1m", "1500"}, {"limits.cpu", "0", "0"},
	} {
		got, err := resourceValue(pod, "c", &corev1.ResourceFieldSelector{Resource: c.resource, Divisor: resource.MustParse(c.divisor)})
		if got != c.want || err != nil {
			t.Errorf("%s by %s is %q, want %q, %v", c.resource, c.divisor, got, c.want, err)
		}
	}
}

func TestImages(t *testing.T) {
	k := &Kubelet{cfg: Config{Images: map[string]string{"reg:5000/op": "/op", "reg:5000/op:v2": "/two"}}}
	for ref, want := range map[string]string{
		"reg:5000/op": "/op", "reg:5000/op:v1": "/op", "reg:5000/op:v2": "/two", "reg:5000/op@sha256:ab": "/op",
		"reg:5000/op:v2@sha256:ab": "/two", "reg:5000/op2": "", "reg": "", "": "",
	} {
		if got := k.image(ref); got != want {
			t.Errorf("%q is %q, want %q", ref, got, want)
		}
	}
}

func TestPublish(t *testing.T) {
	dir := t.TempDir()
	first := payload{"a": {[]byte("1"), 0o644}, "sub/b": {[]byte("2"), 0o600}}
	second := payload{"a": {[]byte("3"), 0o644}, "c": {[]byte("4"), 0o644}}
	if err := publish(dir, first, 1); err != nil {
		t.Fatal(err)
	}
	old, err := filepath.EvalSymlinks(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "sub/b")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for range 2 { // publishing a generation again replaces it, as after a boot
		if err := publish(dir, second, 2); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the earlier generation is still there: %v", err)
	}
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if b, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil {
			got[e.Name()] = string(b)
		}
	}
	if d := cmp.Diff(map[string]string{"a": "3", "c": "4"}, got); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	for _, path := range []string{"../x", "/x", "..data", "", ".", "a/../../x"} {
		if err := (payload{}).add(path, file{}); err == nil {
			t.Errorf("path %q was accepted", path)
		}
	}
}

func TestResolveIn(t *testing.T) {
	root := t.TempDir()
	for link, to := range map[string]string{"var": "/private/var", "run": "../../../run2", "loop": "loop", "rel": "a/./b"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for in, want := range map[string]string{
		"/var/run/x": "/private/var/run/x", "/run/api.sock": "/run2/api.sock", "rel/c": "/a/b/c", "/": "/", "": "/",
		"/../../etc": "/etc", "/var/../x": "/x", // cleaned before links are followed, as the API's validation wants no ".."
	} {
		if got := resolveIn(root, in); got != want {
			t.Errorf("%q leads to %q, want %q", in, got, want)
		}
	}
	if got := resolveIn(root, "/loop/x"); !strings.HasPrefix(got, "/loop") {
		t.Errorf("a circle leads to %q", got)
	}
}

func TestLinesStayWhole(t *testing.T) {
	var out bytes.Buffer
	l := &lineWriter{w: &out}
	for _, s := range []string{"one\ntw", "o", "\n", "three"} {
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
		if b := out.Bytes(); len(b) > 0 && b[len(b)-1] != '\n' {
			t.Errorf("half a line: %q", b)
		}
	}
	l.flush()
	l.flush()
	if out.String() != "one\ntwo\nthree\n" {
		t.Errorf("got %q", out.String())
	}
}

// verdicts runs a probe against checks that succeed or fail as told, and notes when it comes to which verdict.
func verdicts(t *testing.T, p corev1.Probe, good func(at time.Duration) bool, until time.Duration) (got []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		l := newProbeLoop(&p)
		l.check = func(context.Context) error {
			if good(time.Since(begun)) {
				return nil
			}
			return errors.New("no")
		}
		note := func(what string) {
			if len(got) == 0 || !strings.HasPrefix(got[len(got)-1], what) {
				got = append(got, what+" "+time.Since(begun).String())
			}
		}
		l.good = func() { note("good") }
		l.bad = func(error) { note("bad") }
		ctx, cancel := context.WithTimeout(t.Context(), until)
		defer cancel()
		l.run(ctx)
	})
	return got
}

func TestProbeLoop(t *testing.T) {
	for _, c := range []struct {
		name  string
		probe corev1.Probe
		good  func(time.Duration) bool
		want  []string
	}{
		{"good from the start, after its delay", corev1.Probe{InitialDelaySeconds: 5}, func(time.Duration) bool { return true }, []string{"good 5s"}},
		{"noticed within 100 ms", corev1.Probe{}, func(at time.Duration) bool { return at >= 1200*time.Millisecond }, []string{"good 1.25s"}},
		{"quick checks do not use up failures", corev1.Probe{}, func(time.Duration) bool { return false }, []string{"bad 20.05s"}},
		{"fails later", corev1.Probe{PeriodSeconds: 2, FailureThreshold: 2}, func(at time.Duration) bool { return at < 3*time.Second || at > 9*time.Second }, []string{"good 0s", "bad 6s", "good 10s"}},
		{"wants two successes", corev1.Probe{PeriodSeconds: 1, SuccessThreshold: 2}, func(time.Duration) bool { return true }, []string{"good 1s"}},
	} {
		if got := verdicts(t, c.probe, c.good, 25*time.Second); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestPhase(t *testing.T) {
	running := corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	waiting := corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}
	ended := func(code int32) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}
	}
	good, bad := corev1.ContainerStatus{State: ended(0)}, corev1.ContainerStatus{State: ended(1)}
	crashing := waiting
	crashing.LastTerminationState = ended(1)
	type all = []corev1.ContainerStatus
	for _, c := range []struct {
		name         string
		inits, mains all
		finished     bool
		want         corev1.PodPhase
	}{
		{"not started", nil, all{waiting}, false, corev1.PodPending},
		{"initializing", all{good, running}, all{waiting}, false, corev1.PodPending},
		{"initialized", all{good}, all{running, waiting}, false, corev1.PodRunning},
		{"crashing", nil, all{crashing}, false, corev1.PodRunning},
		{"one ended", nil, all{good, running}, false, corev1.PodRunning},
		{"all ended well", all{good}, all{good, good}, true, corev1.PodSucceeded},
		{"one failed", nil, all{good, bad}, true, corev1.PodFailed},
		{"init failed", all{bad}, all{waiting}, true, corev1.PodFailed},
		{"deleted before it started", nil, all{waiting}, true, corev1.PodFailed},
	} {
		if got := phase(podView{inits: c.inits, mains: c.mains, finished: c.finished}); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A status keeps what others wrote and the times of what did not change.
func TestStatusKeepsForeignConditions(t *testing.T) {
	before, at := metav1.Unix(1000, 0), metav1.Unix(2000, 0)
	pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
		{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: before},
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: before},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: before},
		{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: before},
	}}}
	got := podStatus(podView{
		pod: pod, hostIP: netip.MustParseAddr("192.168.0.1"), podIP: netip.MustParseAddr("10.0.0.2"), started: before,
		mains: []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}},
	}, at)
	times := map[corev1.PodConditionType]metav1.Time{}
	for _, c := range got.Conditions {
		times[c.Type] = c.LastTransitionTime
	}
	want := map[corev1.PodConditionType]metav1.Time{
		corev1.DisruptionTarget: before, corev1.PodScheduled: before, corev1.PodInitialized: before,
		corev1.PodReady: at, corev1.ContainersReady: at,
	}
	if d := cmp.Diff(want, times); d != "" {
		t.Errorf("transition times (-want +got):\n%s", d)
	}
	if pod.Status.Conditions[3].Status != corev1.ConditionTrue {
		t.Error("the known pod was changed")
	}
}
