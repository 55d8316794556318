// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
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
// says of that is asked again: it may be behind. Any other error means that this could not be asked.
func (c *cluster) drainUnwanted(ctx context.Context, node string, hadShadow bool) error {
	key := types.NamespacedName{Namespace: c.namespace, Name: v2.ShadowName(node)}
	for _, from := range []client.Reader{c.cache, c.client} {
		var s v2.BottlerocketShadow
		err := from.Get(ctx, key, &s)
		switch {
		case apierrors.IsNotFound(err) && hadShadow:
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return fmt.Errorf("asking whether the drain of node %s is still wanted: %w", node, err)
		case !calledOff(&s):
			return nil
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
	unknown := s.cluster.drainUnwanted(ctx, node, false)
	if errors.Is(unknown, errCalledOff) {
		done()
		return nil, nil, unknown
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ask := func(ctx context.Context) error { return s.cluster.drainUnwanted(ctx, node, hadShadow) }
		if err := untilUnwanted(ctx, changes.wake, unknown, ask); err != nil {
			cancel(err)
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-ended
		done()
	}, nil
}

// untilUnwanted asks after each change whether a drain is unwanted, and again after a pause while that cannot be answered:
// the change was told once. It returns errCalledOff, or nil when ctx ends; unknown is why it is not known at first.
func untilUnwanted(ctx context.Context, changed <-chan struct{}, unknown error, ask func(context.Context) error) error {
	var pause agentapi.Backoff
	for {
		var again <-chan time.Time
		if unknown == nil {
			pause.Reset()
		} else {
			again = time.After(pause.Next())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-again:
		}
		if unknown = ask(ctx); errors.Is(unknown, errCalledOff) {
			return unknown
		}
	}
}
