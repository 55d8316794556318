// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/apiserver/nodes"
)

// A node whose shadow is deleted while it updates has nobody left who would lift our marks: its agent goes with
// the label that opted the node in. The replicas do it when they see the deletion, which needs no right that they
// lack for their other work. What was deleted while no replica ran is found by a look at all nodes at the start.

// maxReleaseTries bounds the tries for one node in a row; the start of the next replica tries again.
const maxReleaseTries = 8

type releaseQueue = workqueue.TypedRateLimitingInterface[string]

func newReleaseQueue() releaseQueue {
	return workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
}

// orphaned takes note that a shadow is gone.
func (s *Server) orphaned(shadow string) {
	s.cluster.written.forget(shadow)
	if node, ok := strings.CutPrefix(shadow, v2.ShadowName("")); ok {
		s.limits.forget(node)
		s.releases.Add(node)
	}
}

// release lifts our marks from nodes that have no shadow, until ctx ends.
func (s *Server) release(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.releases.ShutDown)
	defer stop()
	if !s.cluster.cache.WaitForCacheSync(ctx) {
		return nil
	}
	if marked, err := s.cluster.nodes.Marked(ctx); err == nil {
		for _, node := range marked {
			s.releases.Add(node)
		}
	} else if ctx.Err() == nil {
		s.log.Error("looking for cordons without a shadow failed", "error", err)
	}
	for {
		node, stopped := s.releases.Get()
		if stopped {
			return nil
		}
		switch err := s.releaseOne(ctx, node); {
		case err == nil || ctx.Err() != nil:
			s.releases.Forget(node)
		case s.releases.NumRequeues(node) < maxReleaseTries:
			s.releases.AddRateLimited(node)
		default:
			s.releases.Forget(node)
			s.log.Error("a node without shadow keeps our marks", "node", node, "error", err)
		}
		s.releases.Done(node)
	}
}

// releaseOne lifts our marks if the node still has no shadow. Where it has one its agent does that.
func (s *Server) releaseOne(ctx context.Context, node string) error {
	var shadow v2.BottlerocketShadow
	err := s.cluster.cache.Get(ctx, types.NamespacedName{Namespace: s.cfg.Namespace, Name: v2.ShadowName(node)}, &shadow)
	if !apierrors.IsNotFound(err) {
		return err
	}
	changed, err := s.cluster.nodes.Release(ctx, node)
	if apierrors.IsNotFound(err) {
		return nil // the node itself is gone
	}
	if changed {
		s.log.Info("marks lifted from a node without shadow", "node", node)
	}
	return err
}

// ReleaseNodes lifts the operator's marks from every node of the cluster: for the end of an installation, when
// nothing is left that would. It goes on after errors and returns them together with how many nodes it changed.
func ReleaseNodes(ctx context.Context, cfg *rest.Config, log *slog.Logger) (int, error) {
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return 0, fmt.Errorf("making Kubernetes client: %w", err)
	}
	n := nodes.New(kube.CoreV1().Nodes())
	marked, err := n.Marked(ctx)
	if err != nil {
		return 0, err
	}
	released := 0
	var errs []error
	for _, node := range marked {
		changed, err := n.Release(ctx, node)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			errs = append(errs, err)
		case changed:
			released++
			log.Info("marks lifted", "node", node)
		}
	}
	return released, errors.Join(errs...)
}
