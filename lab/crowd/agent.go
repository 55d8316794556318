// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package crowd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	"github.com/drydock-os/drydock/internal/agent"
	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/apiserver/certs"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/lab/kubelet"
)

// tokenSeconds is the life of a token, as of one that a pod spec says nothing about. It is renewed when a fifth is
// left, as by a kubelet.
const tokenSeconds = 3600

// agentRun is the agent of one pod.
type agentRun struct {
	pod    cache.ObjectName
	cancel context.CancelFunc
	done   chan struct{}
}

// stop ends the agent and waits until it has.
func (r *agentRun) stop() {
	r.cancel()
	<-r.done
}

// runAgent starts the agent of a pod, unless it runs. It lives until the pod or the node's power is gone.
func (n *node) runAgent(pod *corev1.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := cache.MetaObjectToName(pod)
	if n.up == nil || n.agent != nil && n.agent.pod == key {
		return
	}
	before := n.agent
	ctx, cancel := context.WithCancel(n.up)
	run := &agentRun{pod: key, cancel: cancel, done: make(chan struct{})}
	n.agent = run
	n.work.Go(func() {
		defer close(run.done)
		defer cancel()
		if before != nil {
			before.stop()
		}
		n.serve(ctx, pod)
	})
}

func (n *node) agentRuns() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.agent != nil
}

// serve is the agent's container: credentials, and the agent, started again when it ends.
func (n *node) serve(ctx context.Context, pod *corev1.Pod) {
	token := filepath.Join(n.crowd.cfg.Dir, n.Name+".token")
	var again time.Time
	if kubelet.Retry(ctx, func() (err error) { again, err = n.requestToken(ctx, pod, token); return err }) != nil {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for agentapi.Wait(ctx, time.Until(again)) == nil {
			if kubelet.Retry(ctx, func() (err error) { again, err = n.requestToken(ctx, pod, token); return err }) != nil {
				return
			}
		}
	})
	_ = kubelet.Retry(ctx, func() error {
		if err := n.agentOnce(ctx, token); err != nil {
			n.crowd.cfg.Log.Debug("agent ended", "node", n.Name, "error", err)
		}
		if ctx.Err() != nil {
			return nil
		}
		return errors.New("ended by itself")
	})
}

// agentOnce is what the program drydock-agent does.
func (n *node) agentOnce(ctx context.Context, token string) error {
	cluster, err := agentapi.NewClient(agentapi.Config{
		URL: "https://" + agentapi.ServiceName + "." + n.crowd.cfg.Namespace + ".svc:443", NodeName: n.Name,
		TokenFile: token, CAFile: n.crowd.trust.file, Dial: n.crowd.cfg.Dial,
	})
	if err != nil {
		return err
	}
	defer cluster.Close()
	host := hostapi.New(n.host.Socket())
	defer host.Close()
	a, err := agent.New(agent.Config{Host: host, Cluster: cluster})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// requestToken writes a token that is bound to the pod, and returns when it is to be renewed.
func (n *node) requestToken(ctx context.Context, pod *corev1.Pod, path string) (again time.Time, err error) {
	asked := time.Now()
	answer, err := n.crowd.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			Audiences: []string{agentapi.Audience}, ExpirationSeconds: new(int64(tokenSeconds)),
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return again, fmt.Errorf("requesting a token: %w", err)
	}
	if err := replace(path, []byte(answer.Status.Token)); err != nil {
		return again, fmt.Errorf("writing a token: %w", err)
	}
	return asked.Add(answer.Status.ExpirationTimestamp.Sub(asked) * 4 / 5), nil
}

// replace swaps a file's content at once. It survives no power cut, and need not.
func replace(path string, data []byte) error {
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// trust is the file that tells all agents whom to trust, kept as their Secret has it.
type trust struct {
	file string
	have atomic.Bool
}

// follow watches the Secret until ctx ends. It calls first when the file is there.
func (t *trust) follow(ctx context.Context, c *Crowd, first func()) {
	write := func(o any) {
		secret, ok := o.(*corev1.Secret)
		if !ok || len(secret.Data["ca.crt"]) == 0 {
			return
		}
		if err := replace(t.file, secret.Data["ca.crt"]); err != nil {
			c.cfg.Log.Warn("agents do not learn whom to trust", "error", err)
			return
		}
		if !t.have.Swap(true) {
			first()
		}
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(c.client.CoreV1().RESTClient(), "secrets", c.cfg.Namespace,
			fields.OneTermEqualSelector("metadata.name", certs.BundleSecret)),
		ObjectType: &corev1.Secret{},
		Handler:    cache.ResourceEventHandlerFuncs{AddFunc: write, UpdateFunc: func(_, o any) { write(o) }},
	})
	informer.RunWithContext(ctx)
}
