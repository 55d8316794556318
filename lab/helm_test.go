// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
)

const (
	// newImage is the one that the guide tells to use.
	newImage = "registry.example.com/drydock:v0.1.0"
	// oldValues is the values file of somebody who runs Brupop.
	oldValues = `image: public.ecr.aws/bottlerocket/bottlerocket-update-operator:v1.4.0
max_concurrent_updates: "1"
scheduler_cron_expression: "* * * * * * *"
exclude_from_lb_wait_time_in_sec: "0"
update_window_start: "0:0:0"
update_window_stop: "0:0:0"
logging:
  formatter: json
  ansi_enabled: "false"
placement:
  controller:
    priorityClassName: brupop-controller-high-priority
resources:
  agent:
    resources: {limits: {cpu: 10m, memory: 50Mi}, requests: {cpu: 5m, memory: 8Mi}}
`
)

// helmUser is somebody with helm, a cluster and a checkout of this repository.
type helmUser struct {
	cluster
	dir string // holds values.yaml, and deploy as in the repository
	env []string
}

func newHelmUser(c cluster, kubeconfig string) *helmUser {
	t := c.t
	t.Helper()
	tools := filepath.Join(binDir(t), "tools")
	if _, err := os.Stat(filepath.Join(tools, "helm")); err != nil {
		t.Fatalf("helm is missing: run the tests by 'make test', which builds it: %v", err)
	}
	u := &helmUser{cluster: c, dir: t.TempDir()}
	u.env = append(os.Environ(), "PATH="+tools+":"+binDir(t)+":"+os.Getenv("PATH"), "KUBECONFIG="+kubeconfig, "HOME="+u.home(kubeconfig))
	repository, err := filepath.Abs("..")
	if err == nil {
		err = os.Symlink(filepath.Join(repository, "deploy"), filepath.Join(u.dir, "deploy"))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(u.dir, "values.yaml"), []byte(oldValues), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// home makes a home directory, with the file that says how to reach the cluster where kubectl looks for it.
func (u *helmUser) home(kubeconfig string) string {
	u.t.Helper()
	home := u.t.TempDir()
	data, err := os.ReadFile(kubeconfig)
	if err == nil {
		err = os.Mkdir(filepath.Join(home, ".kube"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(home, ".kube", "config"), data, 0o600)
	}
	if err != nil {
		u.t.Fatal(err)
	}
	return home
}

// run runs a shell script.
func (u *helmUser) run(script string) {
	u.t.Helper()
	cmd := exec.CommandContext(u.t.Context(), "sh", "-euc", script)
	cmd.Dir, cmd.Env = u.dir, u.env
	if out, err := cmd.CombinedOutput(); err != nil {
		u.t.Fatalf("%v after\n%s\n%s", err, script, out)
	}
}

// chart makes a chart of objects and returns its directory.
func (u *helmUser) chart(name string, objects []*unstructured.Unstructured) string {
	u.t.Helper()
	dir := filepath.Join(u.t.TempDir(), name)
	var templates bytes.Buffer
	for _, o := range objects {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			u.t.Fatal(err)
		}
		fmt.Fprintf(&templates, "---\n%s", text)
	}
	err := os.MkdirAll(filepath.Join(dir, "templates"), 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "Chart.yaml"), []byte("apiVersion: v2\nname: "+name+"\nversion: 1.4.0\n"), 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "templates", "objects.yaml"), templates.Bytes(), 0o600)
	}
	if err != nil {
		u.t.Fatal(err)
	}
	return dir
}

// guideForHelm returns the shell blocks of the section that tells how to upgrade with Helm.
func guideForHelm(t *testing.T) []string {
	t.Helper()
	_, section, _ := strings.Cut(operatorPage(t, "upgrade-from-brupop.md"), "\n## With Helm\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := shellBlocks(section)
	if len(blocks) != 2 || !strings.Contains(blocks[0], newImage) {
		t.Fatalf("the guide has %d blocks, want that of the upgrade and that of one release: %q", len(blocks), blocks)
	}
	return blocks
}

// operatorPage returns a page of the operator's documents.
func operatorPage(t *testing.T, name string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "operator", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// shellBlocks returns the commands that a text tells to type.
func shellBlocks(text string) []string {
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// brupop returns the objects of Brupop's two charts, with those of cert-manager.
func brupop(t *testing.T) (crd, operator []*unstructured.Unstructured) {
	t.Helper()
	for _, file := range []string{"brupop-1.4.0-objects.yaml", "brupop-1.4.0-cert-manager.yaml"} {
		data, err := os.ReadFile(filepath.Join("..", "deploy", "testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range parseObjects(t, data) {
			switch o.GetKind() {
			case "Namespace": // made by the administrator
			case "CustomResourceDefinition":
				crd = append(crd, o)
			default:
				endSoon(t, o)
				operator = append(operator, o)
			}
		}
	}
	return crd, operator
}

// certManager are definitions of cert-manager's kinds, as far as helm cares: nobody acts on them here.
func certManager() (all []*unstructured.Unstructured) {
	for kind, plural := range map[string]string{"Issuer": "issuers", "Certificate": "certificates"} {
		all = append(all, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": plural + ".cert-manager.io"},
			"spec": map[string]any{
				"group": "cert-manager.io", "scope": "Namespaced", "names": map[string]any{"kind": kind, "plural": plural},
				"versions": []any{map[string]any{
					"name": "v1", "served": true, "storage": true,
					"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
				}},
			},
		}})
	}
	return all
}

// TestAReleaseOfBrupopIsUpgradedByHelm begins where Helm has installed Brupop 1.4.0, which has just asked the first of two
// nodes to stage an update, and does what the guide says with the old values file. Then it uninstalls.
func TestAReleaseOfBrupopIsUpgradedByHelm(t *testing.T) {
	t.Parallel()
	guide := guideForHelm(t)
	cmd, access := startUp(t, "--nodes", "2", "--without-operator", "--image", newImage+"="+operatorImageDir(t))
	defer stopUp(t, cmd)
	c := dial(t, access)
	u := newHelmUser(c, access.Kubeconfig)
	for _, host := range access.Hosts {
		c.optIn(host.Name, true)
	}
	crd, operator := brupop(t)
	c.apply(certManager())
	c.untilServed("issuers.cert-manager.io", "certificates.cert-manager.io")
	u.run("helm install brupop-crd " + u.chart("bottlerocket-shadow", crd) + " --namespace " + brupopv2.DefaultNamespace + " --create-namespace")
	c.untilServed(definition)
	u.run("helm install brupop " + u.chart("bottlerocket-update-operator", operator) + " --namespace " + brupopv2.DefaultNamespace + " --values values.yaml")
	// What cert-manager would have made; nobody may take it away from agents that still use it.
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: brupopv2.DefaultNamespace, Name: "brupop-root-ca-secret"}}
	secret.Data = newAuthority(t, time.Now().Add(365*24*time.Hour))
	if err := c.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	for i, host := range access.Hosts { // one at a time, as by Brupop's default
		brupopShadow(c, host.Name, i == 0)
	}
	c.until("Brupop's controller runs", &appsv1.DeploymentList{}, func(objects map[string]client.Object) bool {
		d, ok := objects["brupop-controller-deployment"].(*appsv1.Deployment)
		return ok && d.Status.AvailableReplicas == 1
	})
	kept, workloads := c.keepsakes(), c.workloads()

	u.run(guide[0])
	c.untilUpdated(2)
	if diff := cmp.Diff(workloads, c.workloads()); diff != "" {
		t.Errorf("workloads and services before and after the upgrade (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(kept, c.keepsakes()); diff != "" {
		t.Errorf("the upgrade took or replaced (-before +after):\n%s", diff)
	}
	for _, o := range operator {
		switch o.GetName() {
		case "brupop-agent-role", "brupop-agent-role-binding", "brupop-apiserver-auth-delegator-role-binding",
			"selfsigned-issuer", "brupop-root-certificate-issuer", "brupop-selfsigned-ca", "brupop-apiserver-certificate", "brupop-apiserver-client-certificate":
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
				t.Errorf("%s %s is still there: %v", o.GetKind(), o.GetName(), err)
			}
		}
	}

	u.run(guide[1]) // one release in the end
	if diff := cmp.Diff(kept, c.keepsakes()); diff != "" {
		t.Errorf("the release that gave up the definition took (-before +after):\n%s", diff)
	}

	c.leaveCordoned(access.Hosts[0].Name)
	u.run("helm uninstall brupop --namespace " + brupopv2.DefaultNamespace)
	var node corev1.Node
	if err := c.Get(t.Context(), client.ObjectKey{Name: access.Hosts[0].Name}, &node); err != nil || node.Spec.Unschedulable {
		t.Errorf("the node that was in mid-update is left cordoned: %v %+v", err, node.Spec)
	}
	if diff := cmp.Diff(kept, c.keepsakes()); diff != "" {
		t.Errorf("uninstalling took (-before +after):\n%s", diff)
	}
	if left := c.workloads(); len(left) > 0 {
		t.Errorf("left of the workloads: %v", left)
	}
	var roles rbacv1.ClusterRoleList
	if err := c.List(t.Context(), &roles); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(roles.Items, func(r rbacv1.ClusterRole) bool { return strings.HasPrefix(r.Name, "brupop-") }); i >= 0 {
		t.Errorf("left of the rights: %s", roles.Items[i].Name)
	}
}

// keepsakes returns the identity of what must outlive every release.
func (c cluster) keepsakes() map[string]string {
	c.t.Helper()
	found := map[string]string{}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := c.Get(c.t.Context(), client.ObjectKey{Name: definition}, &crd); err != nil {
		c.t.Fatal(err)
	}
	found[crd.Name] = string(crd.UID)
	var shadows brupopv2.BottlerocketShadowList
	if err := c.List(c.t.Context(), &shadows); err != nil {
		c.t.Fatal(err)
	}
	for _, s := range shadows.Items {
		found[s.Name] = string(s.UID)
	}
	var secret corev1.Secret
	if err := c.Get(c.t.Context(), client.ObjectKey{Namespace: brupopv2.DefaultNamespace, Name: "brupop-root-ca-secret"}, &secret); err != nil {
		c.t.Fatal(err)
	}
	found[secret.Name] = string(secret.UID)
	return found
}

// leaveCordoned makes a node look as in the middle of an update that nobody ends any more.
func (c cluster) leaveCordoned(node string) {
	c.t.Helper()
	server := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: brupopv2.DefaultNamespace, Name: "brupop-apiserver"}}
	if err := c.Patch(c.t.Context(), server, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":0}}`))); err != nil {
		c.t.Fatal(err)
	}
	c.eventually("no apiserver is left, which would lift the cordon", func() bool {
		var pods corev1.PodList
		if err := c.List(c.t.Context(), &pods, client.InNamespace(brupopv2.DefaultNamespace), client.MatchingLabels{brupopv2.ComponentLabel: "apiserver"}); err != nil {
			c.t.Fatal(err)
		}
		return len(pods.Items) == 0
	})
	c.markCordoned(node)
}

// markCordoned gives a node the marks of an update.
func (c cluster) markCordoned(node string) {
	c.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	patch := `{"metadata":{"annotations":{"` + brupopv2.CordonedByAnnotation + `":"` + brupopv2.CordonOwner + `"}},"spec":{"unschedulable":true}}`
	if err := c.Patch(c.t.Context(), n, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		c.t.Fatal(err)
	}
}
