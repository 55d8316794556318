// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package lab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/deploy"
)

// rarelyUsed are the rights that a roll without mishaps may do without: why they are there, and the test in which they
// are used. Those without a test are used inside client-go.
var rarelyUsed = map[string]struct{ why, file, test string }{
	"apiserver: get pods": {
		"an agent may ask before the watch shows its pod", "internal/apiserver/auth/auth_test.go", "TestAPodThatJustStartedIsFound"},
	"apiserver: get bottlerocketshadows.brupop.bottlerocket.aws": {
		"an agent may ask twice for its shadow", "internal/apiserver/rights_test.go", "TestTheseRightsAreEnough"},
	"apiserver: update secrets": {
		"the authority is replaced before it ends", "internal/apiserver/certs/rotate_test.go", "TestD5TheCAIsReplacedWithOverlap"},
	"apiserver: create events.events.k8s.io": {
		"a drain is told when it is over; in so small a fleet the replica that drains often evicts itself", "internal/apiserver/rights_test.go", "TestTheseRightsAreEnough"},
	"apiserver: patch events.events.k8s.io": {
		"an event that happens again is counted in the first one", "", ""},
	"controller: patch events.events.k8s.io": {
		"an event that happens again is counted in the first one", "", ""},
	"controller: list nodes": {
		"an API server that cannot stream a list is asked for a plain one", "", ""},
	"controller: get bottlerocketshadows.brupop.bottlerocket.aws": {
		"a shadow that the watch does not show yet is looked up", "internal/controller/reconcile_test.go", "TestARememberedShadowThatWasDeletedHoldsNoSlot"},
}

// TestTheRightsThatAreGrantedAreUsed updates a fleet, takes a node out of the operator's care, and compares the audit
// log with the roles of the manifest.
func TestTheRightsThatAreGrantedAreUsed(t *testing.T) {
	t.Parallel()
	cmd, access := startUp(t, "--nodes", "2", "--workload-replicas", "2")
	defer stopUp(t, cmd)
	c := dial(t, access)
	for _, host := range access.Hosts {
		c.optIn(host.Name, true)
	}
	c.untilUpdated(2)
	c.optIn(access.Hosts[1].Name, false)
	c.until("the shadow of the node that was taken out is gone", &brupopv2.BottlerocketShadowList{}, func(objects map[string]client.Object) bool {
		return len(objects) == 1
	})

	// Watches are recorded when they end: those of all parts did when their nodes were emptied or rebooted.
	granted, used := grantedRights(t), usedRights(t, filepath.Join(access.Dir, "plane", "audit.log"))
	if len(used) < 10 {
		t.Fatalf("the audit log has no more than %v", slices.Sorted(maps.Keys(used)))
	}
	unused := map[string]bool{}
	for right := range granted {
		if strings.HasPrefix(right, "agent:") || strings.Contains(right, "*") {
			t.Errorf("nobody should have the right %q", right)
		}
		if _, rare := rarelyUsed[right]; !used[right] && !rare {
			unused[right] = true
		}
	}
	if diff := cmp.Diff(map[string]bool{}, unused); diff != "" {
		t.Errorf("rights that nothing used (-want +got):\n%s", diff)
	}
	for right, rare := range rarelyUsed {
		if !granted[right] {
			t.Errorf("the right %q is on the list and not granted", right)
		}
		if rare.test == "" {
			continue
		}
		source, err := os.ReadFile(filepath.Join("..", rare.file))
		if err != nil || !bytes.Contains(source, []byte("func "+rare.test+"(")) {
			t.Errorf("the right %q is shown by %s in %s, which is not there: %v", right, rare.test, rare.file, err)
		}
	}
}

// right is how a right of one part is written here: part: verb resource[/subresource][.group].
func right(account, verb, resource, group string) string {
	part := strings.TrimSuffix(strings.TrimPrefix(account, "brupop-"), "-service-account")
	if group != "" {
		resource += "." + group
	}
	return part + ": " + verb + " " + resource
}

// grantedRights reads what the manifest's roles allow to the accounts that they are bound to.
func grantedRights(t *testing.T) map[string]bool {
	t.Helper()
	rules, found := map[string][]rbacv1.PolicyRule{}, map[string]bool{}
	var bindings []rbacv1.RoleBinding // both kinds have the same fields that matter
	for _, o := range parseObjects(t, deploy.Manifest) {
		var role rbacv1.Role
		var binding rbacv1.RoleBinding
		var err error
		switch o.GetKind() {
		case "Role", "ClusterRole":
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role)
			rules[o.GetKind()+"/"+o.GetName()] = role.Rules
		case "RoleBinding", "ClusterRoleBinding":
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &binding)
			bindings = append(bindings, binding)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range bindings {
		role := rules[b.RoleRef.Kind+"/"+b.RoleRef.Name]
		if len(role) == 0 {
			t.Errorf("%s is bound to a role that is not in the manifest", b.Name)
		}
		for _, rule := range role {
			for _, subject := range b.Subjects {
				for _, group := range rule.APIGroups {
					for _, resource := range rule.Resources {
						for _, verb := range rule.Verbs {
							found[right(subject.Name, verb, resource, group)] = true
						}
					}
				}
			}
		}
	}
	return found
}

// usedRights reads from the audit log what the operator's accounts did, and complains about what they were refused.
func usedRights(t *testing.T, path string) map[string]bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	used := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // bytes of one entry; they have no bodies
	for lines.Scan() {
		var e struct {
			Verb, RequestURI string
			User             struct{ Username string }
			ObjectRef        struct{ Resource, Subresource, APIGroup string }
			ResponseStatus   struct{ Code int }
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			continue // the last line may be cut off while the server writes it
		}
		account, ours := strings.CutPrefix(e.User.Username, "system:serviceaccount:"+brupopv2.DefaultNamespace+":")
		if !ours {
			continue
		}
		if account == "brupop-agent-service-account" {
			t.Errorf("an agent asked Kubernetes: %s %s", e.Verb, e.RequestURI)
		}
		if e.ResponseStatus.Code == http.StatusForbidden {
			t.Errorf("%s was refused: %s %s", account, e.Verb, e.RequestURI)
			continue
		}
		resource := e.ObjectRef.Resource
		if e.ObjectRef.Subresource != "" {
			resource += "/" + e.ObjectRef.Subresource
		}
		used[right(account, e.Verb, resource, e.ObjectRef.APIGroup)] = true
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return used
}
