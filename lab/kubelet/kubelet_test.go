// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func pingProbe() *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ping", Port: intstr.FromInt32(8080)}},
		PeriodSeconds: 1, FailureThreshold: 1,
	}
}

// A container finds everything that its pod spec promises, at the promised places.
func TestContainerSeesItsSpec(t *testing.T) {
	c, ns := newCluster(t)
	n := newNode(t, c, "spec")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, StringData: map[string]string{"ca.crt": "a certificate", "user": "me"}}
	if _, err := c.client.CoreV1().Secrets(ns).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"COLOUR": "blue"}}
	if _, err := c.client.CoreV1().ConfigMaps(ns).Create(t.Context(), settings, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(n.cfg.Root, "run", "api.sock")
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	pod := n.pod(ns, "agent", "serve", "$(PORT)")
	pod.Labels = map[string]string{"app": "agent"}
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(1000))}
	main := &pod.Spec.Containers[0]
	main.Command[0] = "./helper"
	main.WorkingDir = "/bin"
	main.ReadinessProbe = pingProbe()
	main.SecurityContext = &corev1.SecurityContext{ReadOnlyRootFilesystem: new(true), SELinuxOptions: &corev1.SELinuxOptions{Type: "super_t"}}
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	main.Env = []corev1.EnvVar{
		{Name: "PORT", Value: "8080"},
		{Name: "MY_NODE_NAME", ValueFrom: field("spec.nodeName")},
		{Name: "MY_IP", ValueFrom: field("status.podIP")},
		{Name: "URL", Value: "http://$(MY_IP):$(PORT)/$$(PORT)/$(UNKNOWN)"},
		{Name: "USER", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "keys"}, Key: "user"}}},
		{Name: "NONE", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "nothing"}, Key: "x", Optional: new(true)}}},
	}
	main.EnvFrom = []corev1.EnvFromSource{{Prefix: "CFG_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}
	main.VolumeMounts = []corev1.VolumeMount{
		{Name: "socket", MountPath: "/run/api.sock"},
		{Name: "keys", MountPath: "/etc/keys"},
		{Name: "token", MountPath: "/var/run/secrets/tokens/"},
		{Name: "scratch", MountPath: "/scratch"},
		{Name: "scratch", MountPath: "/part", SubPath: "some/part"},
		{Name: "nothing", MountPath: "/nothing"},
	}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "socket", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/run/api.sock", Type: new(corev1.HostPathSocket)}}},
		{Name: "keys", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "keys", Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca/ca.crt"}}}}},
		{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "brupop-apiserver", Path: "agent-token"}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}},
		}}}},
		{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "nothing", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "nothing"}, Optional: new(true)}}},
	}
	pod = n.await(n.create(pod), isReady)

	if pod.Status.Phase != corev1.PodRunning || pod.Status.HostIP != n.cfg.NodeIP.String() || pod.Status.StartTime == nil {
		t.Errorf("status %+v", pod.Status)
	}
	env, err := ask[[]string](pod, "/env", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"MY_NODE_NAME=" + n.cfg.NodeName, "MY_IP=" + pod.Status.PodIP, "URL=http://" + pod.Status.PodIP + ":8080/$(PORT)/$(UNKNOWN)",
		"USER=me", "CFG_COLOUR=blue", "KUBERNETES_SERVICE_HOST=10.0.0.1", "KUBERNETES_SERVICE_PORT=443", "HOSTNAME=agent",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("environment lacks %s", want)
		}
	}
	for path, want := range map[string]string{
		"/etc/keys/ca/ca.crt":            "a certificate",
		"/etc/issue":                     "helper image\n",
		"/etc/hostname":                  "agent\n",
		"/etc/resolv.conf":               "nameserver 10.0.0.10\nsearch " + ns + ".svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
		"/run/run/secrets/tokens/labels": `app="agent"`, // where /var leads to in this image
	} {
		if got, err := ask[string](pod, "/file", url.Values{"path": {path}}); got != want || err != nil {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if hosts, err := ask[string](pod, "/file", url.Values{"path": {"/etc/hosts"}}); !strings.Contains(hosts, pod.Status.PodIP+"\tagent") || err != nil {
		t.Errorf("/etc/hosts: %q, %v", hosts, err)
	}
	if name, err := ask[string](pod, "/hostname", nil); name != "agent" || err != nil {
		t.Errorf("host name %q, %v", name, err)
	}
	root, err := ask[[]string](pod, "/names", url.Values{"path": {"/"}})
	if want := []string{"bin", "dev", "etc", "nothing", "part", "proc", "run", "scratch", "tmp", "var"}; !slices.Equal(root, want) || err != nil {
		t.Errorf("root has %v, want %v, %v", root, want, err)
	}
	for path, writable := range map[string]bool{"/scratch/x": true, "/part/y": true, "/dev/termination-log": true, "/x": false, "/etc/keys/x": false, "/etc/issue": false, "/bin/x": false} {
		if _, err := ask[string](pod, "/write", url.Values{"path": {path}, "data": {"z"}}); (err == nil) != writable {
			t.Errorf("writing %s: %v", path, err)
		}
	}
	if got, err := ask[string](pod, "/file", url.Values{"path": {"/scratch/some/part/y"}}); got != "z" || err != nil {
		t.Errorf("sub-path: %q, %v", got, err)
	}

	token, err := ask[string](pod, "/file", url.Values{"path": {"/var/run/secrets/tokens/agent-token"}})
	if err != nil {
		t.Fatal(err)
	}
	checkToken(t, token, pod)
	if p := n.k.Processes(); len(p) != 1 || p[0].UID != pod.UID || p[0].Container != "main" || p[0].PID <= 1 {
		t.Errorf("processes %v", p)
	}
	if !strings.Contains(n.output.String(), "serving 8080\n") {
		t.Errorf("output %q", n.output)
	}

	begun := time.Now()
	n.delete(pod, nil)
	n.awaitGone(pod)
	if d := time.Since(begun); d > 3*time.Second {
		t.Errorf("a polite container took %v to end", d)
	}
	if p := n.k.Processes(); len(p) != 0 {
		t.Errorf("processes after the end: %v", p)
	}
}

// checkToken looks at what a token promises to the server that will review it.
func checkToken(t *testing.T, token string, pod *corev1.Pod) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a token: %d parts", len(parts))
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Audience   []string `json:"aud"`
		Kubernetes struct {
			Namespace string
			Pod, Node struct{ Name, UID string }
		} `json:"kubernetes.io"`
	}
	if err := json.Unmarshal(claims, &got); err != nil {
		t.Fatal(err)
	}
	k := got.Kubernetes
	if !slices.Equal(got.Audience, []string{"brupop-apiserver"}) || k.Namespace != pod.Namespace ||
		k.Pod.Name != pod.Name || k.Pod.UID != string(pod.UID) || k.Node.Name != pod.Spec.NodeName {
		t.Errorf("token says %s", claims)
	}
}

// Objects and sockets that a pod needs may come after it, and follow their source from then on.
func TestLateSources(t *testing.T) {
	c, ns := newCluster(t)
	n := newNode(t, c, "late")
	pod := n.pod(ns, "late", "serve", "8080")
	main := &pod.Spec.Containers[0]
	main.ReadinessProbe = pingProbe()
	main.VolumeMounts = []corev1.VolumeMount{{Name: "keys", MountPath: "/etc/keys"}, {Name: "socket", MountPath: "/run/api.sock"}}
	main.Env = []corev1.EnvVar{{Name: "COLOUR", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Key: "colour"}}}}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "keys", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "keys"}}},
		{Name: "socket", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/run/api.sock", Type: new(corev1.HostPathSocket)}}},
	}
	pod = n.create(pod)

	n.await(pod, isWaiting("ContainerCreating", `secret "keys" not found`))
	secrets := c.client.CoreV1().Secrets(ns)
	secret, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, StringData: map[string]string{"a": "1"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.await(pod, isWaiting("CreateContainerConfigError", `configmap "settings" not found`))
	if _, err := c.client.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"colour": "red"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	n.await(pod, isWaiting("ContainerCreating", "host path /run/api.sock does not exist"))
	if err := os.MkdirAll(filepath.Join(n.cfg.Root, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	l, err := net.Listen("unix", filepath.Join(n.cfg.Root, "run", "api.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pod = n.await(pod, isReady)
	t.Logf("ready %v after its socket", time.Since(begun))

	secret.Data = map[string][]byte{"a": []byte("2"), "b": []byte("3")}
	if _, err := secrets.Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	begun = time.Now()
	n.eventually("new content in the volume", func() error {
		a, err := ask[string](pod, "/file", url.Values{"path": {"/etc/keys/a"}})
		if err != nil {
			return err
		}
		if b, err := ask[string](pod, "/file", url.Values{"path": {"/etc/keys/b"}}); a != "2" || b != "3" {
			return fmt.Errorf("a is %s, b is %s, %w", a, b, err)
		}
		return nil
	})
	t.Logf("new content %v after the update", time.Since(begun))
}

func TestRestartsBackOff(t *testing.T) {
	c, ns := newCluster(t)
	n := newNode(t, c, "crash")
	pod := n.create(n.pod(ns, "crash", "exit", "3"))
	begun := time.Now()
	pod = n.await(pod, func(p *corev1.Pod) string {
		if missing := isWaiting("CrashLoopBackOff", "back-off")(p); missing != "" || p.Status.ContainerStatuses[0].RestartCount < 3 {
			return "not in back-off after three restarts"
		}
		return ""
	})
	if d := time.Since(begun); d < 750*time.Millisecond { // at once, 250 ms, 500 ms
		t.Errorf("three restarts took only %v", d)
	}
	s := pod.Status.ContainerStatuses[0]
	if last := s.LastTerminationState.Terminated; last == nil || last.ExitCode != 3 || last.Reason != "Error" || last.Message != "exit 3" {
		t.Errorf("last state %+v", s.LastTerminationState)
	}
	if s.Ready || pod.Status.Phase != corev1.PodRunning {
		t.Errorf("ready %v, phase %v", s.Ready, pod.Status.Phase)
	}
	begun = time.Now()
	n.delete(pod, nil)
	n.awaitGone(pod)
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("a pod in back-off took %v to end", d)
	}
}

func TestRunToCompletion(t *testing.T) {
	c, ns := newCluster(t)
	n := newNode(t, c, "jobs")
	scratch := corev1.Volume{Name: "log", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/log", Type: new(corev1.HostPathDirectoryOrCreate)}}}
	step := func(name, word string) corev1.Container {
		return corev1.Container{
			Name: name, Image: helperImage, Command: []string{"/bin/helper"}, Args: []string{"append", "/log/steps", word},
			VolumeMounts: []corev1.VolumeMount{{Name: "log", MountPath: "/log"}},
		}
	}
	for _, c := range []struct {
		name   string
		policy corev1.RestartPolicy
		code   string
		phase  corev1.PodPhase
	}{
		{"good", corev1.RestartPolicyNever, "0", corev1.PodSucceeded},
		{"bad", corev1.RestartPolicyNever, "4", corev1.PodFailed},
		{"retried", corev1.RestartPolicyOnFailure, "0", corev1.PodSucceeded},
	} {
		pod := n.pod(ns, c.name, "exit", c.code)
		pod.Spec.RestartPolicy = c.policy
		pod.Spec.Volumes = []corev1.Volume{scratch}
		pod.Spec.InitContainers = []corev1.Container{step("first", "1"), step("second", "2")}
		pod = n.await(n.create(pod), hasPhase(c.phase))
		if isReady(pod) == "" {
			t.Errorf("%s: ended and ready", c.name)
		}
		for _, s := range pod.Status.InitContainerStatuses {
			if s.State.Terminated == nil || s.State.Terminated.ExitCode != 0 {
				t.Errorf("%s: init container %s: %+v", c.name, s.Name, s.State)
			}
		}
		n.delete(pod, nil)
		n.awaitGone(pod)
	}
	if steps, err := os.ReadFile(filepath.Join(n.cfg.Root, "log", "steps")); string(steps) != "121212" || err != nil {
		t.Errorf("init containers ran in order %q, %v", steps, err)
	}
}

func TestStubbornContainerIsKilled(t *testing.T) {
	c, ns := newCluster(t)
	n := newNode(t, c, "stubborn")
	pod := n.await(n.create(n.pod(ns, "stubborn", "stubborn")), isReady)
	n.delete(pod, new(int64(30)))
	time.Sleep(300 * time.Millisecond) // long enough to see that it does not end
	if _, err := c.client.CoreV1().Pods(ns).Get(t.Context(), pod.Name, metav1.GetOptions{}); err != nil {
		t.Fatalf("pod ended before its grace period: %v", err)
	}
	begun := time.Now()
	n.delete(pod, new(int64(1)))
	n.awaitGone(pod)
	if d := time.Since(begun); d < 500*time.Millisecond || d > 4*time.Second {
		t.Errorf("killed after %v, want about 1s", d)
	}
}

func TestUnhealthyContainerIsRestarted(t *testing.T) {
	c, ns := newCluster(t)
	n := newNode(t, c, "sick")
	pod := n.pod(ns, "sick", "serve", "8080")
	pod.Spec.Containers[0].ReadinessProbe = pingProbe()
	pod.Spec.Containers[0].LivenessProbe = pingProbe()
	pod.Spec.Containers[0].StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/helper", "append", "/tmp/probed", "x"}}}, TimeoutSeconds: 5}
	pod = n.await(n.create(pod), isReady)
	if got, err := ask[string](pod, "/file", url.Values{"path": {"/tmp/probed"}}); got != "x" || err != nil {
		t.Errorf("startup probe ran %q, %v", got, err)
	}
	if _, err := ask[any](pod, "/sick", nil); err != nil {
		t.Fatal(err)
	}
	after := n.await(pod, restarted(1))
	if after.Status.PodIP != pod.Status.PodIP {
		t.Errorf("address changed from %s to %s", pod.Status.PodIP, after.Status.PodIP)
	}
}

// After a power cut the same pods run again, as new processes with new addresses.
func TestPowerCut(t *testing.T) {
	c, ns := newCluster(t)
	n := newNode(t, c, "power")
	pod := n.pod(ns, "worker", "serve", "8080")
	pod.Spec.Containers[0].ReadinessProbe = pingProbe()
	pod = n.await(n.create(pod), isReady)
	leaving := n.await(n.create(n.pod(ns, "leaving", "stubborn")), isReady)
	idle := n.pod(ns, "idle")
	idle.Spec.Containers[0].Image = "registry.example/unknown:v1"
	idle = n.await(n.create(idle), isReady)
	n.delete(leaving, new(int64(60)))

	processes := n.k.Processes()
	if len(processes) != 2 {
		t.Fatalf("processes %v", processes)
	}
	n.off()
	for _, p := range processes {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", p.PID)); err == nil {
			t.Errorf("process of %s survived", p.Pod)
		}
	}
	if still, err := c.client.CoreV1().Pods(ns).Get(t.Context(), pod.Name, metav1.GetOptions{}); err != nil || isReady(still) != "" {
		t.Errorf("a node without power reported something: %v", err)
	}

	n.on()
	after := n.await(pod, restarted(1))
	s := after.Status.ContainerStatuses[0]
	if after.UID != pod.UID || after.Status.PodIP == pod.Status.PodIP || s.RestartCount != 1 {
		t.Errorf("after: uid %v address %v restarts %d", after.UID, after.Status.PodIP, s.RestartCount)
	}
	if last := s.LastTerminationState.Terminated; last == nil || last.ExitCode != 255 {
		t.Errorf("last state %+v", s.LastTerminationState)
	}
	n.awaitGone(leaving)
	if again := n.await(idle, restarted(1)); again.Status.PodIP == idle.Status.PodIP {
		t.Errorf("simulated pod kept its address")
	}
}

func TestSimulatedPod(t *testing.T) {
	c, ns := newCluster(t)
	n := newNode(t, c, "simulated")
	pod := n.pod(ns, "web")
	pod.Spec.Containers[0].Image = "nginx:1"
	pod.Spec.Containers[0].ReadinessProbe = pingProbe()
	pod.Spec.TerminationGracePeriodSeconds = new(int64(1))
	pod = n.await(n.create(pod), isReady)
	if pod.Status.PodIP == "" || len(n.k.Processes()) != 0 {
		t.Errorf("address %q, processes %v", pod.Status.PodIP, n.k.Processes())
	}
	begun := time.Now()
	n.delete(pod, nil)
	n.awaitGone(pod)
	if d := time.Since(begun); d < 900*time.Millisecond || d > 3*time.Second {
		t.Errorf("gone after %v, want its grace period of 1s", d)
	}

	pod = n.pod(ns, "quick")
	pod.Annotations = map[string]string{ExitSecondsAnnotation: "0.1"}
	pod.Spec.Containers[0].Image = "nginx:1"
	pod = n.await(n.create(pod), isReady)
	begun = time.Now()
	n.delete(pod, nil)
	n.awaitGone(pod)
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("gone after %v, want 0.1s", d)
	}
}

func TestPodThatCannotRun(t *testing.T) {
	c, ns := newCluster(t)
	n := newNode(t, c, "cannot")
	pod := n.pod(ns, "disk", "serve", "8080")
	pod.Spec.Volumes = []corev1.Volume{{Name: "disk", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "s", Path: "/"}}}}
	n.await(n.create(pod), isWaiting("Unsupported", `volume "disk"`))
	n.delete(pod, nil)
	n.awaitGone(pod)

	missing := n.pod(ns, "missing")
	missing.Spec.Containers[0].Command = []string{"./nothing"}
	got := n.await(n.create(missing), isWaiting("CrashLoopBackOff", "back-off"))
	if last := got.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.Reason != "StartError" || !strings.Contains(last.Message, "/nothing: no such file") {
		t.Errorf("last state %+v", last)
	}

	pod = n.await(n.create(n.pod(ns, "forced", "stubborn")), isReady)
	n.delete(pod, new(int64(0)))
	n.eventually("end of the process", func() error {
		if p := n.k.Processes(); len(p) != 0 {
			return fmt.Errorf("processes %v", p)
		}
		return nil
	})
	if _, err := c.client.CoreV1().Pods(ns).Get(t.Context(), pod.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("pod: %v", err)
	}
}

func TestNodeRegistration(t *testing.T) {
	c, _ := newCluster(t)
	n := newNode(t, c, "registered")
	have, err := c.client.CoreV1().Nodes().Get(t.Context(), n.cfg.NodeName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if have.Labels[corev1.LabelHostname] != n.cfg.NodeName || have.Labels["bottlerocket.aws/updater-interface-version"] != "2.0.0" {
		t.Errorf("labels %v", have.Labels)
	}
	n.eventually("lease", func() error {
		lease, err := c.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(t.Context(), n.cfg.NodeName, metav1.GetOptions{})
		if err == nil && *lease.Spec.LeaseDurationSeconds != leaseSeconds {
			err = fmt.Errorf("lease %+v", lease.Spec)
		}
		return err
	})
	n.off()
	n.cfg.OSImage = "Drydock 1.21.0"
	n.on()
	have, err = c.client.CoreV1().Nodes().Get(t.Context(), n.cfg.NodeName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if have.Status.NodeInfo.OSImage != "Drydock 1.21.0" || have.Status.NodeInfo.BootID != "boot-2" {
		t.Errorf("second boot reports %+v", have.Status.NodeInfo)
	}
}
