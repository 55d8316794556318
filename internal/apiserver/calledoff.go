// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// A drain serves the reboot of an update. Our own agents leave it when the controller calls the update off. An agent of
// the original waits for the answer, however long that takes, and asks six times: without an end from our side it would
// go on emptying, for up to an hour, a node that everybody else has given up on.

// errCalledOff ends a drain that nobody wants any more. It is answered as something that may pass, which makes no
// difference to an agent of the original; one of ours learns the rest from its stream and not from here.
var errCalledOff = errors.New("the update that the node was to be emptied for was called off")

// calledOff is whether the controller has taken back the update of a node, and the node has not followed yet.
func calledOff(s *v2.BottlerocketShadow) bool {
	return s.Spec.State == v2.Idle && s.Status != nil && s.Status.CurrentState == v2.StagedAndPerformedUpdate
}

// drainUnwanted is errCalledOff if the update of the node was called off, or with it its shadow deleted. What the cache
// says of that is asked again: it may be behind.
func (c *cluster) drainUnwanted(ctx context.Context, node string, hadShadow bool) error {
	key := types.NamespacedName{Namespace: c.namespace, Name: v2.ShadowName(node)}
	for _, from := range []client.Reader{c.cache, c.client} {
		var s v2.BottlerocketShadow
		err := from.Get(ctx, key, &s)
		switch {
		case apierrors.IsNotFound(err) && hadShadow:
		case err != nil, !calledOff(&s):
			return nil // unknown is not called off
		}
	}
	return errCalledOff
}

// hasShadow is whether the cache knows a shadow of the node.
func (c *cluster) hasShadow(ctx context.Context, node string) bool {
	var s v2.BottlerocketShadow
	return c.cache.Get(ctx, types.NamespacedName{Namespace: c.namespace, Name: v2.ShadowName(node)}, &s) == nil
}

// whileWanted returns a context that also ends, with cause errCalledOff, when the drain of the node is not wanted any
// more, and an error if it is not wanted to begin with.
func (s *Server) whileWanted(ctx context.Context, node string) (context.Context, func(), error) {
	changes, done := s.hub.subscribe(v2.ShadowName(node))
	hadShadow := s.cluster.hasShadow(ctx, node)
	if err := s.cluster.drainUnwanted(ctx, node, false); err != nil {
		done()
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ctx.Done():
				return
			case <-changes.wake:
				if err := s.cluster.drainUnwanted(ctx, node, hadShadow); err != nil {
					cancel(err)
				}
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-ended
		done()
	}, nil
}
