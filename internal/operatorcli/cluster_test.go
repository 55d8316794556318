// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/plan"
	"github.com/drydock-os/drydock/internal/testutil/kubetest"
)

// documentedRights returns the objects of the YAML block of the manual, for a user and a namespace.
func documentedRights(t *testing.T, user, namespace string) []*unstructured.Unstructured {
	t.Helper()
	manual, err := os.ReadFile(filepath.Join(kubetest.ModuleRoot(t), "docs", "operator", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(manual), "```yaml\n")
	if block, _, _ = strings.Cut(block, "```"); !ok {
		t.Fatal("the manual has no YAML block")
	}
	block = strings.NewReplacer("jane@example.com", user, v2.DefaultNamespace, namespace, "drydock-reader", user).Replace(block)
	var all []*unstructured.Unstructured
	for doc := range strings.SplitSeq(block, "---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	return all
}

// onServer is a world whose cluster is a real API server, seen with the access of cfg.
func onServer(t *testing.T, cfg *rest.Config, namespace string) *world {
	t.Helper()
	w := newWorld(t)
	var err error
	if w.cluster, err = newCluster(rest.CopyConfig(cfg), namespace, "drydock"); err != nil {
		t.Fatal(err)
	}
	return w
}

// populate creates objects with their status, in a namespace of the test's own.
func populate(t *testing.T, c client.Client, namespace string, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if o.GetNamespace() != "" {
			o.SetNamespace(namespace)
		}
		status := o.DeepCopyObject().(client.Object)
		o.SetUID("")
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		status.SetResourceVersion(o.GetResourceVersion())
		status.SetUID(o.GetUID())
		switch with := status.(type) {
		case *v2.BottlerocketShadow:
			if err := c.Status().Update(t.Context(), with); err != nil {
				t.Fatal(err)
			}
			with.DeepCopyInto(o.(*v2.BottlerocketShadow))
		case *appsv1.Deployment:
			with.Status.Replicas = with.Status.ReadyReplicas
			if err := c.Status().Update(t.Context(), with); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTheDocumentedRightsAreEnough(t *testing.T) {
	server := kubetest.Start(t)
	admin, namespace := server.Client(t), server.Namespace(t)
	name := namespace + "-reader" // nodes, roles and users are not in namespaces
	for _, u := range documentedRights(t, name, namespace) {
		if err := admin.Create(t.Context(), u); err != nil {
			t.Fatalf("creating %s %s: %v", u.GetKind(), u.GetName(), err)
		}
	}
	populate(t, admin, namespace, append(operator("1", name), node(name), shadow(name))...)
	w := onServer(t, server.User(t, name), namespace)
	for _, args := range [][]string{
		{"status"}, {"status", "-o", "wide"}, {"plan"}, {"node", name}, {"version"}, {"support-bundle", "-f", "-"},
	} {
		r := w.run(t, args...)
		for _, text := range []string{r.stderr, r.stdout} {
			if strings.Contains(text, "forbidden") {
				t.Errorf("%v: %q", args, text)
			}
		}
		if r.err != nil {
			t.Errorf("%v: %v", args, r.err)
		}
		if args[0] == "plan" && !strings.Contains(r.stdout, name+" goes last") {
			t.Errorf("plan: %s, want it to know the leader's node", r.stdout)
		}
	}
}

func TestAMissingRightIsNamed(t *testing.T) {
	server := kubetest.Start(t)
	w := onServer(t, server.User(t, "nobody"), server.Namespace(t))
	for _, args := range [][]string{{"status"}, {"status", "-w"}, {"plan"}, {"node", "x"}} {
		r := w.run(t, args...)
		if hint := cli.Hint(r.err); r.err == nil || !strings.Contains(r.err.Error(), "cannot list resource") || !strings.HasPrefix(hint, "you may not list ") {
			t.Errorf("%v: error %v with hint %q, want the verb and the resource", args, r.err, hint)
		}
	}
}

// TestWatchFollowsTheFleet watches as somebody who may read nodes and shadows but not the controller's settings,
// and then as somebody with all rights.
func TestWatchFollowsTheFleet(t *testing.T) {
	server := kubetest.Start(t)
	admin, namespace := server.Client(t), server.Namespace(t)
	node1, reader := namespace+"-node", namespace+"-few"
	brs := shadow(node1)
	brs.OwnerReferences = nil // the server chooses the node's UID
	populate(t, admin, namespace, append(operator("0", node1), node(node1), brs)...)
	few := rbacv1.ClusterRole{Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{nodes}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{v2.GroupVersion.Group}, Resources: []string{shadows}, Verbs: []string{"list", "watch"}},
	}}
	few.Name = reader
	binding := rbacv1.ClusterRoleBinding{
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: few.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: few.Name}},
	}
	binding.Name = few.Name
	populate(t, admin, "", &few, &binding)

	for name, tt := range map[string]struct {
		cfg        *rest.Config
		first      string
		wantStderr string
	}{
		"few rights": {server.User(t, reader), "", "cannot list resource"},
		"all rights": {server.Config, string(plan.StartsDisabled), ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := onServer(t, tt.cfg, namespace)
			in, out := io.Pipe()
			var stderr bytes.Buffer
			w.tool = newTool(w.config(out, &stderr))
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				lines := asJSON
				done <- w.watchStatus(ctx, w.cluster, &lines)
				out.Close()
			}()
			lines := json.NewDecoder(bufio.NewReader(in))
			next := func() (r nodeReport) {
				for r.Name != node1 {
					if err := lines.Decode(&r); err != nil {
						t.Fatalf("reading the next line: %v, stderr %s", err, stderr.String())
					}
				}
				return r
			}
			if r := next(); (tt.first == "") != (r.Next == nil) || r.Next != nil && r.Next.Reason != tt.first {
				t.Errorf("first %+v, want %q to come next", r, tt.first)
			}
			text := "downloading since " + time.Now().String()
			brs.Status.CurrentState, brs.Status.Message = v2.StagedAndPerformedUpdate, text
			if err := admin.Status().Update(t.Context(), brs); err != nil {
				t.Fatal(err)
			}
			if r := next(); r.State != "StagedAndPerformedUpdate" || r.Message != text {
				t.Errorf("then %+v, want the new state and message", r)
			}
			stop()
			go func() { _, _ = io.Copy(io.Discard, in) }()
			if err := <-done; err != nil {
				t.Errorf("the watch ended with %v, want none", err)
			}
			if got := stderr.String(); tt.wantStderr == "" && got != "" || !strings.Contains(got, tt.wantStderr) {
				t.Errorf("stderr %q, want %q in it", got, tt.wantStderr)
			}
			brs.Status.CurrentState, brs.Status.Message = v2.Idle, ""
			if err := admin.Status().Update(t.Context(), brs); err != nil {
				t.Fatal(err)
			}
		})
	}
}
