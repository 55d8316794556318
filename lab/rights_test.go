// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package lab

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	brupopv1 "github.com/drydock-os/drydock/api/brupop/v1"
	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/deploy"
	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/apiserver/certs"
)

// TestTheRightsThatAreGrantedAreUsed brings about everything that the operator has rights for, in one lab: a roll with the
// wait for load balancers, a node that is taken out of its care, a drain that a budget holds up while the replica that
// drains goes away, objects of the first version, an authority that has expired, and requests that come early or twice.
// Then the audit log and the roles of the manifest name the same rights.
func TestTheRightsThatAreGrantedAreUsed(t *testing.T) {
	t.Parallel()
	cmd, access := startUp(t, "--nodes", "2", "--workload-replicas", "2")
	defer stopUp(t, cmd)
	c := dial(t, access)
	held, left := access.Hosts[0].Name, access.Hosts[1].Name

	c.setEnv(&appsv1.DaemonSet{}, "brupop-agent", "EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC", "1")
	// Servers before Kubernetes 1.34 cannot stream a list: the controller asks them for a plain one.
	c.setEnv(&appsv1.Deployment{}, "brupop-controller-deployment", "KUBE_FEATURE_WatchListClient", "false")
	c.publishExpiredAuthority()
	free := c.holdUp(held)

	c.optIn(held, true)
	c.untilEvent("the drain is blocked", held, "DrainBlocked", 1)
	if err := c.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(brupopv2.DefaultNamespace), client.MatchingLabels{brupopv2.ComponentLabel: "apiserver"}); err != nil {
		t.Fatal(err)
	}
	c.untilEvent("another replica drains, and meets the same", held, "DrainBlocked", 2)
	free()
	c.untilIdle(1)
	c.untilInUse(2)
	agents := c.agents()
	agents.announce(held) // which it is already
	agents.stranger(held)

	for n := int32(1); n <= 2; n++ {
		c.optIn(left, true)
		c.untilShadows(2)
		c.optIn(left, false)
		c.untilShadows(1)
		c.untilEvent("the node is told that it was taken out", left, "NodeOptedOut", n)
	}
	c.optIn(left, true)
	c.untilUpdated(2)
	first := &unstructured.UnstructuredList{}
	first.SetGroupVersionKind(brupopv1.GroupVersion.WithKind("BottlerocketShadowList"))
	if err := c.List(t.Context(), first, client.InNamespace(brupopv2.DefaultNamespace)); err != nil || len(first.Items) != 2 {
		t.Errorf("%d objects in the first version, %v", len(first.Items), err)
	}

	granted := grantedRights(t)
	for right := range granted {
		if strings.HasPrefix(right, "agent:") || strings.Contains(right, "*") {
			t.Errorf("nobody should have the right %q", right)
		}
	}
	// Watches are recorded when they end: those of all parts did when their nodes were emptied or rebooted.
	used := usedRights(t, filepath.Join(access.Dir, "plane", "audit.log"))
	if diff := cmp.Diff(granted, used); diff != "" {
		t.Errorf("rights that are granted, and those that were used (-granted +used):\n%s", diff)
	}
}

// setEnv sets a variable in all pods of a workload.
func (c cluster) setEnv(o client.Object, workload, name, value string) {
	c.t.Helper()
	o.SetNamespace(brupopv2.DefaultNamespace)
	o.SetName(workload)
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{
		map[string]any{"name": "brupop", "env": []corev1.EnvVar{{Name: name, Value: value}}},
	}}}}})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.Patch(c.t.Context(), o, client.RawPatch(types.StrategicMergePatchType, patch)); err != nil {
		c.t.Fatalf("setting %s of %s: %v", name, workload, err)
	}
}

// publishExpiredAuthority adds an authority to those that agents trust which is to be removed by the next apiserver.
func (c cluster) publishExpiredAuthority() {
	c.t.Helper()
	expired := newAuthority(c.t, time.Now().Add(-time.Hour))["ca.crt"]
	c.eventually("there is a bundle to add to", func() bool { // which the first apiserver makes, and others may write too
		var bundle corev1.Secret
		err := c.Get(c.t.Context(), client.ObjectKey{Namespace: brupopv2.DefaultNamespace, Name: certs.BundleSecret}, &bundle)
		if err == nil {
			bundle.Data["ca.crt"] = append(bundle.Data["ca.crt"], expired...)
			err = c.Update(c.t.Context(), &bundle)
		}
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			c.t.Fatal(err)
		}
		return err == nil
	})
}

// newAuthority makes an authority that signs certificates until it expires, with the keys of a Secret of cert-manager.
func newAuthority(t *testing.T, expires time.Time) map[string][]byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: expires,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return map[string][]byte{"ca.crt": cert, "tls.crt": cert, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})}
}

// holdUp puts a pod onto a node that a budget lets nobody evict, until free is called.
func (c cluster) holdUp(node string) (free func()) {
	c.t.Helper()
	labels, none := map[string]string{"app": "held"}, intstr.FromInt32(0)
	meta := metav1.ObjectMeta{Namespace: "default", Name: "held", Labels: labels}
	budget := &policyv1.PodDisruptionBudget{
		ObjectMeta: meta,
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &none, Selector: &metav1.LabelSelector{MatchLabels: labels}},
	}
	// Budgets count what a controller has asked for.
	one, grace := int32(1), int64(1)
	pod := corev1.PodSpec{NodeName: node, TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{{Name: "held", Image: "registry.lab/held:1"}}}
	workload := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
	}}
	for _, o := range []client.Object{budget, workload} {
		if err := c.Create(c.t.Context(), o); err != nil {
			c.t.Fatal(err)
		}
	}
	c.until("the pod runs and its budget counts it", &policyv1.PodDisruptionBudgetList{}, func(objects map[string]client.Object) bool {
		b, ok := objects["held"].(*policyv1.PodDisruptionBudget)
		return ok && b.Status.CurrentHealthy == 1
	})
	return func() {
		for _, o := range []client.Object{workload, budget} {
			if err := c.Delete(c.t.Context(), o, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// untilEvent waits until a node has been told something that many times.
func (c cluster) untilEvent(what, node, reason string, times int32) {
	c.t.Helper()
	c.until(what, &eventsv1.EventList{}, func(objects map[string]client.Object) bool {
		for _, o := range objects {
			e, ok := o.(*eventsv1.Event)
			if !ok || e.Regarding.Kind != "Node" || e.Regarding.Name != node || e.Reason != reason {
				continue
			}
			if times == 1 || e.Series != nil && e.Series.Count >= times {
				return true
			}
		}
		return false
	})
}

func (c cluster) untilShadows(n int) {
	c.t.Helper()
	c.eventually(fmt.Sprint(n, " nodes are looked after"), func() bool {
		var shadows brupopv2.BottlerocketShadowList
		if err := c.List(c.t.Context(), &shadows); err != nil {
			c.t.Fatal(err)
		}
		return len(shadows.Items) == n
	})
}

// agents speaks to the apiserver as agents do, through the Kubernetes API server.
type agents struct {
	cluster
	kube *kubernetes.Clientset
}

func (c cluster) agents() agents {
	c.t.Helper()
	kube, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		c.t.Fatal(err)
	}
	return agents{c, kube}
}

// announce asks for the shadow of a node, as its agent.
func (a agents) announce(node string) {
	a.t.Helper()
	var pods corev1.PodList
	err := a.List(a.t.Context(), &pods, client.InNamespace(brupopv2.DefaultNamespace), client.MatchingLabels{brupopv2.ComponentLabel: "agent"})
	if err != nil {
		a.t.Fatal(err)
	}
	for i := range pods.Items {
		if pods.Items[i].Spec.NodeName == node && pods.Items[i].DeletionTimestamp == nil {
			if err := a.post(&pods.Items[i]); err != nil {
				a.t.Errorf("the agent of %s is answered %v", node, err)
			}
			return
		}
	}
	a.t.Fatalf("no agent on %s", node)
}

// stranger asks for the same from a pod that the apiserver does not watch: it has to look it up, as that of an agent
// whose first request is faster than the watch.
func (a agents) stranger(node string) {
	a.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: brupopv2.DefaultNamespace, Name: "stranger"},
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: agentapi.AgentServiceAccount, TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []corev1.Container{{Name: "stranger", Image: "registry.lab/stranger:1"}},
		},
	}
	if err := a.Create(a.t.Context(), pod); err != nil {
		a.t.Fatal(err)
	}
	if err := a.post(pod); !apierrors.IsForbidden(err) {
		a.t.Errorf("a pod that is no agent is answered %v", err)
	}
	if err := a.Delete(a.t.Context(), pod); err != nil {
		a.t.Fatal(err)
	}
}

// post asks for the shadow of a pod's node with a token of that pod.
func (a agents) post(pod *corev1.Pod) error {
	a.t.Helper()
	token, err := a.kube.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(a.t.Context(), pod.Spec.ServiceAccountName, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			Audiences:      []string{agentapi.Audience},
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		a.t.Fatalf("asking for a token of %s: %v", pod.Name, err)
	}
	return a.kube.CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("services").
		Name("https:"+agentapi.ServiceName+":443").SubResource("proxy").Suffix(agentapi.PathResource).
		SetHeader(agentapi.HeaderNodeName, pod.Spec.NodeName).SetHeader(agentapi.HeaderToken, token.Status.Token).
		Do(a.t.Context()).Error()
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
		if e.ObjectRef.Resource == "" {
			continue // which kinds the server knows
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
