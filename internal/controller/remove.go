// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/fleetview"
	"github.com/drydock-os/drydock/internal/plan"
)

// remove deletes shadows whose node is gone, replaced or no longer opted in, after a look at the node itself:
// the cache of nodes may know less than that of shadows. What it finds to be in order is left; the watch of
// nodes will say so too.
func (r *reconciler) remove(ctx context.Context, shadows map[string]*v2.BottlerocketShadow, removals []plan.Removal) error {
	var errs []error
	for _, rm := range removals {
		if err := r.removeOne(ctx, shadows[rm.Node], rm.Node); err != nil {
			errs = append(errs, fmt.Errorf("removing the shadow of node %s: %w", rm.Node, err))
		}
	}
	return errors.Join(errs...)
}

func (r *reconciler) removeOne(ctx context.Context, brs *v2.BottlerocketShadow, nodeName string) error {
	ctx, cancel, err := r.writing(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	node := &metav1.PartialObjectMetadata{}
	node.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Node"))
	owner, reason := fleetview.OwnerUID(brs), plan.NodeGone
	switch err := r.live.Get(ctx, client.ObjectKey{Name: nodeName}, node); {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("looking whether the node exists: %w", err)
	case owner != "" && owner != string(node.UID):
		reason = plan.NodeReplaced
	case fleetview.OptedIn(node):
		return nil
	default:
		reason = plan.NodeOptedOut
	}
	err = r.client.Delete(ctx, brs, client.Preconditions{UID: &brs.UID})
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err): // somebody else was faster
		return nil
	case err != nil:
		return err
	}
	r.cfg.Log.Info("shadow removed", "node", nodeName, "reason", reason, "spec_state", short(brs.Spec.State))
	r.announceRemoval(brs, node.UID, reason)
	return nil
}
